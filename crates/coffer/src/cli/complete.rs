//! Shell completion: the shell asks this program with `COMP_LINE` set, and gets one word a line.

use super::table::{self, Command, Run};
use super::{Context, Failure, Outcome};
use std::path::PathBuf;

/// Whether the shell, not a person, called.
pub(crate) fn asked(context: &Context) -> bool {
    context.env.raw("COMP_LINE").is_some()
}

pub(crate) fn answer(context: &Context) -> u8 {
    let line = context.env.raw("COMP_LINE").unwrap_or_default();
    let point = context.env.raw("COMP_POINT").and_then(|p| p.parse().ok()).unwrap_or(line.len());
    let line = line.get(..point).unwrap_or(&line);
    for word in words(line) {
        context.line(&word);
    }
    0
}

/// What may stand where the line ends.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut typed: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
    let begun = if line.ends_with(char::is_whitespace) { String::new() } else { typed.pop().unwrap_or_default() };
    let mut found: Vec<String> = match table::find(&typed) {
        None if typed.is_empty() => table::all().filter(|c| !c.path.contains(' ')).map(|c| c.path.to_owned()).collect(),
        None => Vec::new(),
        Some((group, used)) if matches!(group.run, Run::Group) => {
            if used == typed.len() {
                group.children().map(|c| c.name().to_owned()).collect()
            } else {
                Vec::new()
            }
        }
        Some((command, _)) => flags(command, &begun),
    };
    found.retain(|word| word.starts_with(&begun));
    found.sort();
    found.dedup();
    found
}

fn flags(command: &'static Command, begun: &str) -> Vec<String> {
    let Some(name) = begun.strip_prefix('-') else {
        return Vec::new();
    };
    if let Some((name, _)) = name.split_once('=') {
        let dashes = &begun[..begun.len() - begun.trim_start_matches('-').len()];
        let name = name.trim_start_matches('-');
        return command
            .flags()
            .filter(|f| f.name == name)
            .flat_map(|f| f.values.iter().map(move |v| format!("{dashes}{name}={v}")))
            .collect();
    }
    let dashes = if begun.starts_with("--") { "--" } else { "-" };
    command.flags().map(|f| format!("{dashes}{}", f.name)).chain([format!("{dashes}help")]).collect()
}

/// What a shell must read to ask this program.
pub(crate) fn script(shell: &str, program: &str) -> Outcome<String> {
    Ok(match shell {
        "bash" => format!("complete -o nospace -o default -C {program} {program}\n"),
        "zsh" => format!("autoload -U +X bashcompinit && bashcompinit\ncomplete -o nospace -o default -C {program} {program}\n"),
        "fish" => format!(
            "function __complete_{program}\n    set -lx COMP_LINE (commandline -cp)\n    test -z (commandline -ct)\n    and set COMP_LINE \"$COMP_LINE \"\n    {program}\nend\ncomplete -f -c {program} -a \"(__complete_{program})\"\n"
        ),
        other => return Err(Failure::usage(format!("No completion for the shell {other:?}: bash, zsh and fish are known"))),
    })
}

/// The files that `-autocomplete-install` writes to: those of the shells that are in use.
fn files(context: &Context) -> Vec<(&'static str, PathBuf)> {
    let Some(home) = context.env.home() else {
        return Vec::new();
    };
    let all = [("bash", home.join(".bashrc")), ("zsh", home.join(".zshrc")), ("fish", home.join(".config/fish/config.fish"))];
    all.into_iter().filter(|(_, file)| file.exists()).collect()
}

pub(crate) fn install(context: &Context) -> u8 {
    let files = files(context);
    if files.is_empty() {
        context.error(&format!(
            "Found no .bashrc, .zshrc or fish configuration in the home directory. Run \"{} completion bash|zsh|fish\" and put what it prints where your shell reads it.",
            context.program
        ));
        return 1;
    }
    change(
        context,
        &files,
        |text, script| if text.contains(script) { None } else { Some(format!("{text}\n{script}")) },
        "Installed completion in",
    )
}

pub(crate) fn uninstall(context: &Context) -> u8 {
    change(
        context,
        &files(context),
        |text, script| text.contains(script).then(|| text.replace(&format!("\n{script}"), "").replace(script, "")),
        "Removed completion from",
    )
}

fn change(context: &Context, files: &[(&'static str, PathBuf)], edit: impl Fn(&str, &str) -> Option<String>, done: &str) -> u8 {
    let mut code = 0;
    for (shell, file) in files {
        let edited = script(shell, &context.program).map_err(|f| f.text).and_then(|script| {
            let text = std::fs::read_to_string(file).map_err(|e| e.to_string())?;
            let Some(text) = edit(&text, &script) else { return Ok(false) };
            std::fs::write(file, text).map(|()| true).map_err(|e| e.to_string())
        });
        match edited {
            Ok(true) => context.line(&format!("{done} {}. It takes effect in a new shell.", file.display())),
            Ok(false) => {}
            Err(why) => {
                context.error(&format!("{}: {why}", file.display()));
                code = 1;
            }
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completes_commands_flags_and_values() {
        assert_eq!(words("coffer sta"), ["status"]);
        assert_eq!(words("coffer kv pu"), ["put"]);
        assert!(words("coffer ").contains(&"kv".to_owned()));
        assert!(words("coffer kv get -fo").contains(&"-format".to_owned()));
        assert_eq!(words("coffer kv get --form"), ["--format"]);
        assert_eq!(words("coffer kv get -format=y"), ["-format=yaml"]);
        assert!(words("coffer nope x").is_empty());
        assert!(words("coffer kv get secret/").is_empty());
    }

    #[test]
    fn only_known_shells_have_a_script() {
        for shell in ["bash", "zsh", "fish"] {
            assert!(script(shell, "coffer").unwrap().contains("coffer"));
        }
        assert!(script("csh", "coffer").is_err());
    }
}
