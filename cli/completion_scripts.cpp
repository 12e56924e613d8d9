#include "espalier/cli/completion_scripts.h"

namespace espalier::cli {
namespace {

const char* const bash = R"sh(# Completes espalier's arguments in bash. Made by `espalier completion bash`.
_espalier() {
  local program=${COMP_WORDS[0]/#\~/$HOME} typed=() line word i
  # bash has taken words apart at '=' and ':'
  for ((i = 1; i <= COMP_CWORD; i++)); do
    if ((i > 1)) && [[ ${COMP_WORDS[i]} == [=:]* || ${COMP_WORDS[i - 1]} == *[=:] ]]; then
      typed[${#typed[@]} - 1]+=${COMP_WORDS[i]}
    else
      typed+=("${COMP_WORDS[i]}")
    fi
  done
  local current=${typed[${#typed[@]} - 1]}
  local part=${current##*[=:]}
  local before=${current%"$part"}
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :files) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$part") ;;
      :folders) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$part") ;;
      *)
        word=${line%%$'\t'*}
        COMPREPLY+=("${word#"$before"}")
        [[ $word != *[=.] ]] || compopt -o nospace 2>/dev/null
        continue
        ;;
    esac
    compopt -o filenames 2>/dev/null
  done < <("$program" __complete "${typed[@]}" 2>/dev/null)
}
complete -F _espalier espalier
)sh";

const char* const zsh = R"sh(#compdef espalier
# Completes espalier's arguments in zsh. Made by `espalier completion zsh`.
_espalier() {
  local line word text paths
  local -a complete open
  for line in "${(@f)$(${~words[1]} __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
    [[ -n $line ]] || continue
    if [[ $line == (:files|:folders) ]]; then
      paths=$line
      continue
    fi
    word=${line%%$'\t'*}
    text=${${line#$word}#$'\t'}
    word=${word//:/\\:}${text:+:$text}
    if [[ ${line%%$'\t'*} == *[=.] ]]; then open+=("$word"); else complete+=("$word"); fi
  done
  (( $#complete )) && _describe -t words 'word' complete
  (( $#open )) && _describe -t words 'field' open -S ''
  if [[ -n $paths ]]; then
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if [[ $paths == :folders ]]; then _files -/; else _files; fi
  fi
}
if [[ $funcstack[1] == _espalier ]]; then
  _espalier "$@"
else
  compdef _espalier espalier
fi
)sh";

const char* const fish = R"sh(# Completes espalier's arguments in fish. Made by `espalier completion fish`.
function __espalier_complete
    set -l typed (commandline -opc)
    set -l current (commandline -ct | string collect)
    set -l program (string replace -r '^~' $HOME -- $typed[1])
    set -l option (string match -r -- '^-[^=]*=' "$current")
    set -l path (string replace -r -- '^-[^=]*=' '' "$current")
    for line in ($program __complete $typed[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                for each in (__fish_complete_path "$path")
                    echo "$option$each"
                end
            case :folders
                for each in (__fish_complete_directories "$path" '')
                    echo "$option$each"
                end
            case '*'
                echo $line
        end
    end
end
complete -c espalier -f -a '(__espalier_complete)'
)sh";

}  // namespace

const std::map<std::string, std::string>& completion_scripts() {
  static const std::map<std::string, std::string> scripts{{"bash", bash}, {"fish", fish}, {"zsh", zsh}};
  return scripts;
}

}  // namespace espalier::cli
