# fish completion of rdev. Install it: rdev completion fish >~/.config/fish/completions/rdev.fish
# rdev __complete answers (rdev_cli/faces/cli/complete.py says how); nothing of the answer is evaluated.

function __rdev_complete
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set -e before[1]
    set -l word (commandline --current-token --cut-at-cursor)
    set -l lines (command rdev __complete $before "$word" 2>/dev/null)
    set -l directive $lines[1]
    set -e lines[1]
    switch "$directive"
        case :words
            string join -- \n $lines
        case :files :dirs
            set -l finder __fish_complete_path
            test "$directive" = :dirs; and set finder __fish_complete_directories
            set -l found ($finder "$word" '')
            if test -z "$found"; and string match --quiet -- '*=*' "$word"
                # the path stands behind an option or a name in the same word
                set -l parts (string split --right --max 1 -- = "$word")
                set found $parts[1]=($finder "$parts[2]" '')
            end
            string join -- \n $found
    end
end

complete --command rdev --no-files --keep-order --arguments '(__rdev_complete)'
