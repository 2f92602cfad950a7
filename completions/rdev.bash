# bash completion of rdev. Load it: source <(rdev completion bash)
# rdev __complete answers (rdev_cli/faces/cli/complete.py says how); nothing of the answer is evaluated.

_rdev() {
  local i word raw cur='' cut directive value description words=()
  # bash splits words at = and :, rdev does not
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ ${#words[@]} -gt 0 && -n $word && ($word == [=:]* || $cur == *[=:]) ]]; then
      cur+=$word
      words[${#words[@]} - 1]=$cur
    else
      cur=$word
      words+=("$word")
    fi
  done
  # what readline leaves alone of the word: all in front of its own last part
  raw=${COMP_WORDS[COMP_CWORD]}
  [[ $raw == [=:]* ]] && cut=$cur || cut=${cur%"$raw"}

  COMPREPLY=()
  {
    IFS= read -r directive
    while IFS=$'\t' read -r value description; do
      COMPREPLY+=("${value#"$cut"}")
    done
  } < <(command rdev __complete "${words[@]}" 2>/dev/null)
  case $directive in
    :files) compopt -o default ;;
    :dirs) compopt -o dirnames ;;
  esac
}

complete -o nosort -F _rdev rdev 2>/dev/null || complete -F _rdev rdev
