//! Asking a person: on the terminal of the process, whatever standard input and output are.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Who answers questions. `None` is no answer: nobody is there, or the question was given up.
pub trait Ask: Send + Sync {
    /// A secret, not shown while it is typed.
    fn secret(&self, question: &str) -> Option<Zeroizing<String>>;

    /// A line that may be shown.
    fn line(&self, question: &str) -> Option<String>;

    /// Something to know; no answer is waited for.
    fn tell(&self, text: &str);
}

/// Nobody is there.
#[derive(Debug, Default)]
pub struct Nobody;

impl Ask for Nobody {
    fn secret(&self, _: &str) -> Option<Zeroizing<String>> {
        None
    }

    fn line(&self, _: &str) -> Option<String> {
        None
    }

    fn tell(&self, _: &str) {}
}

/// The controlling terminal; one question at a time.
#[derive(Debug, Default)]
pub struct Terminal(Mutex<()>);

impl Ask for Terminal {
    fn secret(&self, question: &str) -> Option<Zeroizing<String>> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let terminal = open()?;
        let quiet = Quiet::begin(&terminal)?;
        // Only now: what is typed before would be shown.
        write!(&terminal, "{} ", shown(question)).ok()?;
        let answer = typed(&mut &terminal);
        drop(quiet);
        // Enter was not shown either.
        writeln!(&terminal).ok()?;
        answer
    }

    fn line(&self, question: &str) -> Option<String> {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut terminal = open()?;
        write!(terminal, "{} ", shown(question)).ok()?;
        let mut out = Vec::new();
        let mut byte = [0];
        while out.len() < 4096 && terminal.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
            out.push(byte[0]);
        }
        String::from_utf8(out).ok().map(|text| text.trim().to_owned())
    }

    fn tell(&self, text: &str) {
        let _turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut terminal) = open() {
            // A terminal that went away needs no telling.
            writeln!(terminal, "{}", shown(text)).unwrap_or_default();
        }
    }
}

fn open() -> Option<File> {
    File::options().read(true).write(true).open("/dev/tty").ok()
}

/// Questions hold names from files and words of plugins, which must not steer the terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// Standard input and output: for questions of a program that runs in the foreground, with answers that may come from a pipe.
#[derive(Debug, Default)]
pub struct Standard;

impl Ask for Standard {
    /// A secret is asked for on the terminal alone.
    fn secret(&self, question: &str) -> Option<Zeroizing<String>> {
        Terminal::default().secret(question)
    }

    fn line(&self, question: &str) -> Option<String> {
        let mut out = std::io::stdout();
        write!(out, "{} ", shown(question)).and_then(|()| out.flush()).ok()?;
        let mut line = String::new();
        let length = std::io::stdin().read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim().to_owned())
    }

    fn tell(&self, text: &str) {
        // A reader that went away needs no telling.
        writeln!(std::io::stderr(), "{}", shown(text)).unwrap_or_default();
    }
}

/// A line as it is typed: with what takes characters back, ended by Enter or Ctrl-D, given up by Ctrl-C.
fn typed(terminal: &mut impl Read) -> Option<Zeroizing<String>> {
    // Room for any passphrase, so that no half-typed copy is left behind by growing.
    let mut line = Zeroizing::new(Vec::with_capacity(4096));
    let mut byte = [0];
    while line.len() < 4096 && terminal.read(&mut byte).ok()? == 1 {
        match byte[0] {
            b'\n' | b'\r' | 0x04 => break,
            0x03 => return None,
            // Backspace takes a whole character: its last byte and those that lead to it.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U takes all.
            0x15 => line.clear(),
            other => line.push(other),
        }
    }
    std::str::from_utf8(&line).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// The terminal shows nothing and hands over every key, Ctrl-C too, while this lives: ended by a signal, the program could not
/// give the terminal back as it was.
struct Quiet<'a>(&'a File, Termios);

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &quiet).ok()?;
        Some(Self(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // The terminal is going away too if this fails.
        tcsetattr(self.0, OptionalActions::Now, &self.1).unwrap_or_default();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Answers every question with the next of these, and keeps the questions.
    pub(crate) struct Scripted(pub(crate) Mutex<Vec<&'static str>>, pub(crate) Mutex<Vec<String>>);

    impl Scripted {
        pub(crate) fn of(answers: &[&'static str]) -> Self {
            Self(Mutex::new(answers.iter().rev().copied().collect()), Mutex::default())
        }

        pub(crate) fn asked(&self) -> Vec<String> {
            self.1.lock().unwrap().clone()
        }
    }

    impl Ask for Scripted {
        fn secret(&self, question: &str) -> Option<Zeroizing<String>> {
            self.line(question).map(Zeroizing::new)
        }

        fn line(&self, question: &str) -> Option<String> {
            self.1.lock().unwrap().push(question.to_owned());
            self.0.lock().unwrap().pop().map(str::to_owned)
        }

        fn tell(&self, text: &str) {
            self.1.lock().unwrap().push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_edited_as_on_a_terminal() {
        for (keys, want) in [
            ("abc\ndef", Some("abc")),
            ("ab\u{7f}c\r", Some("ac")),
            ("aü\u{7f}b\n", Some("ab")),
            ("wrong\u{15}right\n", Some("right")),
            ("abc\u{3}", None),
        ] {
            assert_eq!(typed(&mut keys.as_bytes()).map(|text| text.to_string()).as_deref(), want, "{keys:?}");
        }
        assert!(typed(&mut &b"\xff\n"[..]).is_none());
    }

    #[test]
    fn questions_do_not_steer_the_terminal() {
        assert_eq!(shown("a\x1b[2Jb\r"), "a?[2Jb?");
    }
}
