// startup.go - the Go twin of startup.c. It imports nothing: what a package's own start costs is
// not the collector's.
package main

type object struct {
	first uint64
	rest  [7]*byte
}

var kept *object

func main() {
	kept = new(object)
	kept.first = 1
}
