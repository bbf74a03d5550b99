# works.tcl - works of the port of Jim Tcl: works.tcl fib|strings|tables

proc fib n { if {$n < 2} { return $n }; expr {[fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]} }

proc strings {} {
    set sum 0
    for {set i 0} {$i < 60000} {incr i} {
        set s ""
        for {set j 0} {$j < 10} {incr j} { append s "item $i.$j," }
        incr sum [string length [join [lreverse [split $s ,]] ;]]
    }
    return $sum
}

proc tables {} {
    set sum 0
    for {set round 0} {$round < 10} {incr round} {
        set d [dict create]
        for {set i 0} {$i < 20000} {incr i} { dict set d key$i [list $i [expr {$i * $round}]] }
        dict for {key value} $d { incr sum [lindex $value 1] }
    }
    return $sum
}

switch [lindex $argv 0] {
    fib { puts [fib 24] }
    strings { puts [strings] }
    tables { puts [tables] }
}
