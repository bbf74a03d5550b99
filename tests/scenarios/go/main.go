// main.go - measures the Go column of `oakum leaks` anew.
//
// One small program for each scenario, each run in a process of its own, prints what Go retains in
// the rows of the table that bear the same words. Beside it stands the constant of the C file, from
// a run of `oakum leaks --json`; a figure that is off by more than 5 % or 64 KiB, whichever is
// larger, is marked, and so is a count that is off by more than one. Rates, times and what depends
// on them are shown and not judged.
//
// usage: main JSON-FILE [SCENARIO...]; with Go 1.19, whose map is what is measured (make leaks-go).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
)

var programs = map[string]func(){}

// ---- what a program uses ----

// What is live after two collections. runtime.GC returns when all is swept.
func live() float64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&st)
	return float64(st.HeapAlloc)
}

func stats() runtime.MemStats {
	var st runtime.MemStats
	runtime.ReadMemStats(&st)
	return st
}

// A row of the table.
func row(what string, value float64) {
	fmt.Printf("%s\t%g\n", what, value)
}

// Run f on a goroutine that has ended, so that nothing of its stack is left.
func apart(f func()) {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	<-done
}

// ---- the constants ----

type constant struct {
	text   string
	low    float64
	high   float64
	known  bool // it is a number, or two
	judged bool // it doesn't depend on the machine
}

// Whose figures depend on how fast the machine is, and on how the program is written down.
var ofThisMachine = map[string]bool{"gc-thrash": true, "three-sigma-detector": true}

// Go 1.19 has no weak references.
var notInGo = map[string]bool{"weak-reference-pool": true}

type key struct{ scenario, what string }

var number = regexp.MustCompile(`[0-9][0-9,]*(\.[0-9]+)?`)

// "1.4 to 1.6 MB", "23,017,224", "6 to 7 %", "~0", "0 of 500", "A(13): 1,253,376".
func parse(scenario, text, unit string) constant {
	c := constant{text: text, judged: unit != "measure" && !ofThisMachine[scenario]}
	if strings.Contains(text, "Go 1.27") || strings.Contains(text, "RSS") ||
		strings.Contains(text, "stacks") || text == "" {
		return c
	}
	if i := strings.Index(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	if i := strings.Index(text, " of "); i >= 0 {
		text = text[:i]
	}
	found := number.FindAllString(text, -1)
	if len(found) == 0 || len(found) > 2 {
		return c
	}
	scale := 1.0
	if strings.Contains(text, "MB") {
		scale = 1e6
	}
	c.low, _ = strconv.ParseFloat(strings.ReplaceAll(found[0], ",", ""), 64)
	c.high = c.low
	if len(found) == 2 {
		c.high, _ = strconv.ParseFloat(strings.ReplaceAll(found[1], ",", ""), 64)
	}
	c.low, c.high, c.known = c.low*scale, c.high*scale, true
	slackLow, slackHigh := c.low*0.05, c.high*0.05
	least := map[string]float64{"bytes": 65536, "count": 1}[unit]
	slackLow, slackHigh = math.Max(slackLow, least), math.Max(slackHigh, least)
	c.low, c.high = c.low-slackLow, c.high+slackHigh
	return c
}

func readConstants(name string) (map[key]constant, []string, error) {
	var report struct {
		Rows []struct {
			Scenario string
			What     string
			Go       *string `json:"go_1_19"`
			Retained *struct{ Unit string }
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	if err = json.Unmarshal(text, &report); err != nil {
		return nil, nil, err
	}
	all := map[key]constant{}
	var order []string
	for _, r := range report.Rows {
		if len(order) == 0 || order[len(order)-1] != r.Scenario {
			order = append(order, r.Scenario)
		}
		k := key{r.Scenario, r.What}
		if _, there := all[k]; there || r.Go == nil {
			continue
		}
		unit := ""
		if r.Retained != nil {
			unit = r.Retained.Unit
		}
		all[k] = parse(r.Scenario, *r.Go, unit)
	}
	return all, order, nil
}

// ---- the table ----

func show(v float64) string {
	if v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	digits := strconv.FormatInt(int64(v), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

type tally struct{ rows, off, missing int }

func compare(scenario string, out []byte, all map[key]constant, t *tally) {
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		parts := strings.Split(lines.Text(), "\t")
		if len(parts) != 2 {
			fmt.Printf("  %s\n", lines.Text())
			continue
		}
		v, _ := strconv.ParseFloat(parts[1], 64)
		k := key{scenario, parts[0]}
		c, there := all[k]
		verdict := ""
		t.rows++
		switch {
		case !there:
			verdict = "no such row"
			t.off++
		case !c.known:
			verdict = "constant is text"
		case !c.judged:
			verdict = "of this machine"
		case v < c.low || v > c.high:
			verdict = "OFF"
			t.off++
		}
		delete(all, k)
		fmt.Printf("  %-72.72s %15s  %-22s %s\n", parts[0], show(v), c.text, verdict)
	}
}

func runAll(constants string, wanted []string) error {
	all, order, err := readConstants(constants)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var t tally
	fmt.Printf("  %-72s %15s  %s\n", "scenario: row", runtime.Version(), "constant")
	for _, scenario := range order {
		if len(wanted) != 0 && !contains(wanted, scenario) {
			continue
		}
		fmt.Printf("%s\n", scenario)
		if notInGo[scenario] {
			fmt.Printf("  nothing of the kind in this version\n")
			continue
		}
		if programs[scenario] == nil {
			return fmt.Errorf("%s: no program", scenario)
		}
		cmd := exec.Command(self, "run", scenario)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %v", scenario, err)
		}
		compare(scenario, out, all, &t)
		var left []string
		for k, c := range all {
			if k.scenario == scenario && c.text != "" {
				left = append(left, fmt.Sprintf("  %-72.72s %15s  %s", k.what, "-", c.text))
			}
		}
		sort.Strings(left)
		for _, line := range left {
			fmt.Println(line)
		}
		t.missing += len(left)
	}
	fmt.Printf("%d rows measured, %d off, %d rows that are not measured\n", t.rows, t.off, t.missing)
	if t.off != 0 {
		os.Exit(1)
	}
	return nil
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "run" {
		if programs[os.Args[2]] == nil {
			fmt.Fprintf(os.Stderr, "no program %s\n", os.Args[2])
			os.Exit(2)
		}
		programs[os.Args[2]]()
		return
	}
	if len(os.Args) < 2 {
		fmt.Fprintf(os.Stderr, "usage: %s JSON-FILE [SCENARIO...]\n", os.Args[0])
		os.Exit(2)
	}
	if err := runAll(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
