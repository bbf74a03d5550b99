# page.awk - a long page for w3m: tables within a table, lists and links.
BEGIN {
    print "<html><head><title>A long page</title></head><body>"
    for (i = 0; i < 60; i++) {
        printf "<h2>Chapter %d</h2>\n<table border=1>\n", i
        for (row = 0; row < 20; row++) {
            printf "<tr><td>%d<td><b>row %d of %d</b><td>", row, row, i
            printf "<table><tr><td>inner<td>%d<tr><td><i>cell</i><td>%d</table></tr>\n", i * row, row
        }
        print "</table><ul>"
        for (item = 0; item < 30; item++)
            printf "<li><a href=\"#%d.%d\">item %d</a> with some words that are filled\n", i, item, item
        print "</ul>"
    }
    print "</body></html>"
}
