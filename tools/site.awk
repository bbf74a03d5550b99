# site.awk - for tools/site: gives headings an id, leads links to the site's pages, and writes the
# page's sections to the file `data`, for the search.
function slug(s)
{
    gsub(/<[^>]*>/, "", s)
    gsub(/&[a-z]+;/, "", s)
    s = tolower(s)
    gsub(/[^a-z0-9 _-]/, "", s)
    gsub(/ /, "-", s)
    return s
}
function flush(    s)
{
    s = text
    gsub(/<[^>]*>/, " ", s)
    gsub(/\\/, "\\\\&", s)
    gsub(/"/, "\\\"", s)
    gsub(/[ \t]+/, " ", s)
    if (s ~ /[a-z]/) printf "[\"%s\",\"%s\",\"%s\",\"%s\"],\n", url id_part, title, head, s >>data
    text = ""
}
# Where a link of the page leads in the site; "" if to nothing in it.
function lead(target,    anchor, p)
{
    if (target ~ /^(https?:|mailto:|#)/) return target
    anchor = ""
    if (match(target, /#/)) { anchor = substr(target, RSTART); target = substr(target, 1, RSTART - 1) }
    p = from
    if (!sub(/[^\/]*$/, "", p)) p = ""
    p = p target
    while (sub(/[^\/]+\/\.\.\//, "", p)) { }
    if (p ~ /^include\/oakum\/.*\.h$/) {
        sub(/^include\/oakum\//, "oakum_", p)
        sub(/\.h$/, "(3)", p)
        return p in manuals ? up manuals[p] : ""
    }
    if (p ~ /^docs\/.*\.[1-8]\.in$/) {
        sub(/^docs\//, "man/", p)
        sub(/\.in$/, ".html", p)
        return up p
    }
    if (p == "README.md") return up "index.html" anchor
    if (p ~ /^[A-Z]+\.md$/) { sub(/md$/, "html", p); return up p anchor }
    if (p !~ /^docs\//) return ""
    sub(/^docs\//, "", p)
    sub(/\.md$/, ".html", p)
    return up p anchor
}
function links(s,    o, t)
{
    o = ""
    while (match(s, /<a href="[^"]*">/)) {
        o = o substr(s, 1, RSTART - 1)
        t = substr(s, RSTART + 9, RLENGTH - 11)
        s = substr(s, RSTART + RLENGTH)
        t = lead(t)
        if (t == "") { sub(/<\/a>/, "", s); continue }
        o = o "<a href=\"" t "\">"
    }
    s = o s
    o = ""
    while (match(s, /<img src="[^"]*"/)) {
        t = substr(s, RSTART + 10, RLENGTH - 11)
        o = o substr(s, 1, RSTART - 1) "<img loading=\"lazy\" src=\""
        s = substr(s, RSTART + RLENGTH)
        # In a window of its own size a picture can be read on a telephone, too.
        t = lead(t)
        sub(/ \/>/, " /></a>", s)
        sub(/<img[^<]*$/, "<a href=\"" t "\">&", o)
        o = o t "\""
    }
    return o s
}
# oakum_zone(3), or in a manual page <b>oakum_zone</b>(3), as a link.
function references(s,    o, m, n)
{
    o = ""
    while (match(s, /(<b>)?(liboakum|oakum[_a-z-]*|oak_[a-z_]+)(<\/b>)?\([1-8]\)/)) {
        m = n = substr(s, RSTART, RLENGTH)
        gsub(/<[^>]*>/, "", n)
        o = o substr(s, 1, RSTART - 1) (n in manuals ? "<a href=\"" up manuals[n] "\">" n "</a>" : m)
        s = substr(s, RSTART + RLENGTH)
    }
    return o s
}
BEGIN {
    while ((getline line <names) > 0) {
        split(line, part, " ")
        manuals[part[1]] = part[2]
    }
    head = title
}
{ gsub(/ class="(Pp|Bd-indent|manual-text)"/, "") }
/<h[1-6][ >]/ && /<\/h[1-6]>/ {
    flush()
    heading = $0
    sub(/^.*<h[1-6][^>]*>/, "", heading)
    sub(/<\/h[1-6]>.*/, "", heading)
    if (manual != "Manual") {
        id = slug(heading)
        if (id in seen) id = id "-" seen[id]++
        else seen[id] = 1
        sub(/<h[1-6]/, "& id=\"" id "\"")
    } else {
        id = match($0, / id="[^"]*"/) ? substr($0, RSTART + 5, RLENGTH - 6) : ""
    }
    id_part = id == "" ? "" : "#" id
    head = heading
    gsub(/<[^>]*>/, "", head)
    gsub(/\\/, "\\\\&", head)
    gsub(/"/, "\\\"", head)
    print manual == "Manual" ? $0 : links($0)
    next
}
/<table/ && manual != "Manual" {
    name = head
    gsub(/\\"/, "\\&quot;", name)
    tables[name]++
    if (tables[name] > 1) name = name ", table " tables[name]
    print "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"" name "\">"
    sub(/<table/, "& aria-label=\"" name "\"")
}
{ gsub(/<th[^>]*><\/th>/, "<td></td>") } # the corner of a table heads nothing
{
    text = text " " $0
    gsub(/<pre/, "<pre tabindex=\"0\"")
    line = manual == "Manual" ? $0 : links($0)
    if (line !~ /<a /) line = references(line)
    print line
}
/<\/table>/ && manual != "Manual" { print "</div>" }
END { flush() }
