# pages.awk - reads pages in Markdown, and prints what tests/docs/check wants to know of them: lines
# of fields, parted by tabs.
#
#   anchor FILE ID          link FILE LINE TARGET       path FILE LINE PATH
#   words FILE N            sentence FILE LINE WORDS    block FILE LINE INFO PATH
#
# Blocks of code go to files, PATH, in the folder `to`.
# A word is what has a letter or a digit in it. A cell of a table, an item of a list and a heading end
# a sentence; code in the text is a word.
BEGIN { OFS = "\t" }

function slug(s)
{
    gsub(/`|\*/, "", s)
    s = tolower(s)
    gsub(/[^a-z0-9 _-]/, "", s)
    gsub(/ /, "-", s)
    return s
}
function count(s,    n, i, w, k)
{
    n = split(s, w, /[ \t]+/)
    for (i = 1; i <= n; i++) if (w[i] ~ /[A-Za-z0-9]/) k++
    return k + 0
}
function sentence_ends(    n)
{
    n = count(text)
    if (n) print "sentence", FILENAME, began, n
    text = ""
}
# Adds a piece of text to the current sentence, which ends at a full stop.
function say(s,    at)
{
    gsub(/`[^`]*`/, "Code", s)
    gsub(/\]\([^)]*\)/, "]", s)
    sub(/^[ ]+/, "", s)
    while (s != "") {
        if (text == "") began = FNR
        if (match(s, /[.!?:]["\x27)*]*( |$)/)) {
            at = RSTART + RLENGTH - 1
            # "e.g. this", "libgc.so. 1", an initial: a small letter goes on
            text = text " " substr(s, 1, at)
            s = substr(s, at + 1)
            if (s !~ /^[a-z]/) sentence_ends()
        } else {
            text = text " " s
            s = ""
        }
    }
}
function links(s,    target)
{
    gsub(/`[^`]*`/, "", s)
    while (match(s, /\]\([^)]*\)/)) {
        target = substr(s, RSTART + 2, RLENGTH - 3)
        print "link", FILENAME, FNR, target
        s = substr(s, RSTART + RLENGTH)
    }
}
# Files of the tree: what looks like a path in one of its folders.
function paths(s,    p)
{
    gsub(/https?:[^ )]*/, "", s)
    while (match(s, /(docs|tests|tools|runtime|gc|maps|observe|embed|cmd|include|examples|bench|packages|debian)\/[A-Za-z0-9_.*\/-]*[A-Za-z0-9*\/]/)) {
        p = substr(s, RSTART, RLENGTH)
        if (RSTART == 1 || substr(s, RSTART - 1, 1) ~ /[^A-Za-z0-9_.\/$-]/)
            if (substr(s, RSTART + RLENGTH, 1) !~ /[{<%]/) print "path", FILENAME, FNR, p
        s = substr(s, RSTART + RLENGTH)
    }
}
function page_ends()
{
    sentence_ends()
    if (page != "") print "words", page, words
    words = 0
    table = block = 0
}

FNR == 1 {
    page_ends()
    page = FILENAME
    split("", seen)
}
{ words += count($0) }
/^ *(```|~~~)/ {
    sentence_ends()
    if (block) {
        if (file != "") close(file)
        block = 0
    } else {
        block = 1
        info = $0
        sub(/^ *(```|~~~) */, "", info)
        file = sprintf("%s/block%03d", to, ++nblocks)
        printf "" >file
        print "block", FILENAME, FNR, info == "" ? "-" : info, file
    }
    next
}
block { print >file; next }
/^#+ / {
    sentence_ends()
    heading = $0
    sub(/^#+ */, "", heading)
    links(heading)
    gsub(/\]\([^)]*\)/, "", heading)
    gsub(/\[/, "", heading)
    id = slug(heading)
    if (id in seen) id = id "-" seen[id]++
    else seen[id] = 1
    print "anchor", FILENAME, id
    next
}
/^    / && text == "" && !list { paths($0); next } # a block that is indented
{ links($0); paths($0) }
/^ *$/ { sentence_ends(); table = 0; list = 0; next }
/^[ ]*\|?[ ]*:?-+:?[ ]*\|[-| :]*$/ { text = ""; table = 1; next }
table || /^\|/ {
    line = $0
    gsub(/`[^`]*`/, "code", line)
    n = split(line, cell, /\|/)
    for (i = 1; i <= n; i++) { say(cell[i]); sentence_ends() }
    next
}
/^ *([-*+]|[0-9]+\.) / { sentence_ends(); sub(/^ *([-*+]|[0-9]+\.) /, ""); list = 1 }
/^ *<[^>]*>$/ { next }
{ say($0) }
END { page_ends() }
