//! Running another program for a key: its input from us, its output to us, its complaints kept for the error.

use coffer_client::Environment;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// What a program may print.
const MOST: u64 = 16 << 20;
/// How much of its complaints is shown.
const WORDS: usize = 1000;

/// How it ended badly.
#[derive(Debug)]
pub(crate) enum Failed {
    /// There is no such program, or it can't be run.
    Start(std::io::Error),
    /// Its exit status, and what it wrote to standard error.
    Status(std::process::ExitStatus, String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Start(e) => write!(f, "can't be started: {e}"),
            Self::Status(status, words) if words.is_empty() => write!(f, "{status}"),
            Self::Status(status, words) => write!(f, "{status}: {words}"),
        }
    }
}

/// A command in this environment: the process's own, or nothing but a fixed one.
pub(crate) fn command(env: &Environment, program: &str) -> Command {
    let mut command = Command::new(program);
    if let Environment::Fixed(all) = env {
        command.env_clear().envs(all);
    }
    command
}

/// Runs it to its end; gives its standard output.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(Failed::Start)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<&mut dyn Read>| {
        // Room for any key, so that no copy is left behind by growing.
        let mut out = Zeroizing::new(Vec::with_capacity(64 << 10));
        if let Some(pipe) = pipe {
            // A pipe that breaks ends the output; the status says whether that was right.
            pipe.take(MOST).read_to_end(&mut out).unwrap_or_default();
        }
        out
    };
    let (out, complaints) = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut pipe) = stdin {
                // A program that wants no input closes it.
                pipe.write_all(input).unwrap_or_default();
            }
        });
        let complaints = scope.spawn(|| read(stderr.map(Box::new).as_deref_mut().map(|pipe| pipe as &mut dyn Read)));
        let out = read(stdout.map(Box::new).as_deref_mut().map(|pipe| pipe as &mut dyn Read));
        (out, complaints.join().unwrap_or_default())
    });
    let status = child.wait().map_err(Failed::Start)?;
    if status.success() {
        return Ok(out);
    }
    let text = String::from_utf8_lossy(&complaints);
    Err(Failed::Status(status, text.trim().chars().take(WORDS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = command(&Environment::fixed(&[("PATH", "/usr/bin:/bin"), ("A", "b")]), "sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_complaints_and_status() {
        assert_eq!(&**run(sh("cat; echo $A$HOME"), b"in").unwrap(), b"inb\n");
        let failed = run(sh("echo canary; echo why >&2; exit 3"), b"").unwrap_err().to_string();
        assert_eq!(failed, "exit status: 3: why");
        assert!(matches!(run(command(&Environment::fixed(&[]), "/nowhere/x"), b""), Err(Failed::Start(_))));
    }

    #[test]
    fn a_program_that_reads_nothing_or_writes_much_does_not_hang() {
        run(sh("exit 0"), &vec![0; 1 << 20]).unwrap();
        let much = "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero";
        assert_eq!(run(sh(much), b"").unwrap().len(), 300_000);
    }
}
