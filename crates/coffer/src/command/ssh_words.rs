//! What the words for `ssh` say of user, host and port, as `ssh` itself reads them. They are passed on as they are.

/// Where `ssh` would go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<String>,
}

/// Options of OpenSSH's `ssh` that take a value.
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// Reads the words up to the command that is to be run.
pub(super) fn target(words: &[String]) -> Result<Target, String> {
    let (mut user, mut port, mut host) = (None, None, None);
    let mut words = words.iter();
    let mut options_end = false;
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty() && !options_end) else {
            if host.is_some() {
                break;
            }
            host = Some(word.as_str());
            continue;
        };
        if letters == "-" {
            options_end = true;
            continue;
        }
        // Letters may stand together, and the last one's value behind it.
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            if !WITH_VALUE.contains(letter) {
                continue;
            }
            let joined = rest.as_str();
            let value = if joined.is_empty() { words.next().map(String::as_str) } else { Some(joined) };
            let value = value.ok_or_else(|| format!("option -{letter} has no value"))?;
            match letter {
                'l' => first(&mut user, value),
                'p' => first(&mut port, value),
                'o' => {
                    let (name, value) = value.split_once(['=', ' ']).unwrap_or((value, ""));
                    match name.trim().to_ascii_lowercase().as_str() {
                        "user" => first(&mut user, value.trim()),
                        "port" => first(&mut port, value.trim()),
                        _ => {}
                    }
                }
                _ => {}
            }
            break;
        }
    }
    let host = host.ok_or("there is no host in it")?;
    let (mut host, is_url) = host.strip_prefix("ssh://").map_or((host, false), |rest| (rest.trim_end_matches('/'), true));
    if let Some((before, after)) = host.rsplit_once('@') {
        // ssh lets the user before the host win over -l.
        user = Some(before.to_owned());
        host = after;
    }
    if is_url
        && let Some((before, after)) = host.rsplit_once(':').filter(|(before, _)| !before.contains(':') || before.ends_with(']'))
    {
        first(&mut port, after);
        host = before;
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("its host is empty".to_owned());
    }
    Ok(Target { user, host: host.to_owned(), port })
}

/// ssh keeps the first value that it reads.
fn first(place: &mut Option<String>, value: &str) {
    place.get_or_insert_with(|| value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(String, String, String), String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        target(&words).map(|t| (t.user.unwrap_or_default(), t.host, t.port.unwrap_or_default()))
    }

    #[test]
    fn words_are_read_as_ssh_reads_them() {
        for (line, user, host, port) in [
            ("h", "", "h", ""),
            ("u@h", "u", "h", ""),
            ("u@x@h", "u@x", "h", ""),
            ("u@h -p 22 ls -l x", "u", "h", "22"),
            ("u@h ls -p 22", "u", "h", ""),
            ("-p 22 u@h", "u", "h", "22"),
            ("-p22 u@h", "u", "h", "22"),
            ("-vvp 22 -4 u@h", "u", "h", "22"),
            ("-vl bob h", "bob", "h", ""),
            ("-l bob u@h", "u", "h", ""),
            ("-o User=bob -oPort=1 h", "bob", "h", "1"),
            ("-ouser=bob -o port=1 -p 2 h", "bob", "h", "1"),
            ("-i key -L 1:h2:3 h", "", "h", ""),
            ("-- h", "", "h", ""),
            ("ssh://u@h:2222", "u", "h", "2222"),
            ("ssh://u@[::1]:2222/", "u", "::1", "2222"),
            ("u@::1", "u", "::1", ""),
            ("- h", "", "-", ""),
        ] {
            assert_eq!(read(line), Ok((user.to_owned(), host.to_owned(), port.to_owned())), "{line}");
        }
        for line in ["", "-v", "-p 22", "-p", "u@", "ssh://"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
