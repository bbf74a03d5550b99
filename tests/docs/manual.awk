# manual.awk - turns a manual page into as many lines of Markdown, for pages.awk: a tag is a heading,
# and what is set as it stands, or is a table, is left out.
function plain(s)
{
    gsub(/\\f[BIRP]/, "", s)
    gsub(/\\\(aq/, "'", s)
    gsub(/\\[&e]/, "", s)
    gsub(/\\-/, "-", s)
    return s
}
# The arguments of a macro of fonts: joined by blanks, or where fonts alternate by nothing.
function arguments(s, between,    out, word)
{
    while (match(s, /^ *("[^"]*"|[^ "]+)/)) {
        word = substr(s, RSTART, RLENGTH)
        s = substr(s, RSTART + RLENGTH)
        sub(/^ */, "", word)
        gsub(/"/, "", word)
        out = out (out == "" ? "" : between) word
    }
    return out
}
function put(s) { print (tag ? "# " : "") plain(s); tag = 0 }

/^\.(nf|EX|TS)/ { raw = 1 }
/^\.(fi|EE|TE)/ { raw = 0; print ""; next }
raw || /^['.]\\"/ { print ""; next }
/^\.TP/ { print ""; tag = 1; next }
/^\.[BI] / { put(arguments(substr($0, 4), " ")); next }
/^\.(BR|BI|IR|IB|RB|RI) / { put(arguments(substr($0, 5), "")); next }
/^[.@]/ { print ""; next }
{ put($0) }
