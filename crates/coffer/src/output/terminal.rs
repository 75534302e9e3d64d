//! Asking on the terminal without showing what is typed.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read};
use zeroize::Zeroizing;

/// One line from the terminal, not shown. The error is Go's for a standard input that is none.
/// `prompt` is shown when nothing that is typed is shown any more.
pub(crate) fn read_hidden(prompt: impl FnOnce()) -> Result<Zeroizing<String>, String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        prompt();
        return Err("file descriptor 0 is not a terminal".into());
    }
    let _quiet = Quiet::begin()?;
    prompt();
    line(stdin.lock().bytes())
}

/// A line as it is typed: with what takes characters back, ended by Enter or Ctrl-D, given up by Ctrl-C.
fn line(keys: impl Iterator<Item = std::io::Result<u8>>) -> Result<Zeroizing<String>, String> {
    // Room for any key or token, so that no half-typed copy is left behind by growing.
    let mut typed = Zeroizing::new(Vec::with_capacity(4096));
    for key in keys {
        match key.map_err(|e| e.to_string())? {
            b'\n' | b'\r' | 0x04 => break,
            0x03 => return Err("interrupted".into()),
            // Backspace takes a whole character: its last byte and those that lead to it.
            0x08 | 0x7f => while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U takes all.
            0x15 => typed.clear(),
            byte => typed.push(byte),
        }
    }
    match std::str::from_utf8(&typed) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err("what was typed is not UTF-8".into()),
    }
}

/// The terminal shows nothing and hands over every key, Ctrl-C too, while this lives: ended by a signal, the program could not
/// give the terminal back as it was.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self, String> {
        let before = tcgetattr(std::io::stdin()).map_err(|e| e.to_string())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(|e| e.to_string())?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal is going away too if this fails.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<String, String> {
        line(keys.iter().copied().map(Ok)).map(|text| text.to_string())
    }

    #[test]
    fn keys_are_edited_as_on_a_terminal() {
        for (keys, want) in [
            ("abc\ndef", "abc"),
            ("abc", "abc"),
            ("ab\u{7f}c\r", "ac"),
            ("aü\u{7f}b\n", "ab"),
            ("\u{7f}\u{8}x\n", "x"),
            ("wrong\u{15}right\n", "right"),
            ("\n", ""),
        ] {
            assert_eq!(typed(keys.as_bytes()).as_deref(), Ok(want), "{keys:?}");
        }
    }

    #[test]
    fn given_up_or_no_text() {
        assert_eq!(typed(b"abc\x03"), Err("interrupted".into()));
        assert!(typed(b"\xff\n").is_err());
    }
}
