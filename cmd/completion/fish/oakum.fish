# oakum.fish - completion of the oakum command for fish. Commands and options come from the command's
# own help, so none can be missing.

function __oakum_commands
    oakum help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  *\(.*\)/\1\t\2/p'
end

function __oakum_options
    set -l words (commandline -opc)
    test (count $words) -ge 2; or return
    oakum $words[2] --help 2>/dev/null |
        sed -n 's/^  \(-[a-zA-Z],\|   \) \(--[a-z][a-z-]*=\{0,1\}\).*/\2/p'
end

complete -c oakum -n 'test (count (commandline -opc)) -eq 1' -f -a '(__oakum_commands)'
complete -c oakum -n 'contains -- help (commandline -opc)' -f -a '(__oakum_commands)'
complete -c oakum -n 'string match -q -- "-*" (commandline -ct)' -a '(__oakum_options)'
