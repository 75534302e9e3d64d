//! The canonical form of a text, as `policy fmt` writes it.
//!
//! Two spaces a level, one blank line between blocks, equals signs of adjacent one-line items under each other, lists on one line where they
//! were. Literals stay as they were written, and no comment is lost.

use crate::ast::{Body, Comment, Document, Item, Pos, Value, ValueKind};
use crate::parse::{ParseError, parse_hcl};

/// Formats HCL. JSON is refused: it has no canonical form here, as with the reference.
///
/// # Errors
/// As [`crate::parse`].
pub fn format(source: &str) -> Result<String, ParseError> {
    let document = parse_hcl(source)?;
    let mut printer = Printer { loose: loose_comments(&document), document: &document, next_loose: 0 };
    let mut text = printer.top(&document.body).finish();
    text.push('\n');
    Ok(text)
}

/// The groups that no item or value took as its own, in order.
fn loose_comments(document: &Document) -> Vec<&[Comment]> {
    let mut taken = std::collections::HashSet::new();
    taken_by_body(&document.body, &mut taken);
    let groups = document.comments.iter().enumerate();
    groups.filter(|(i, _)| !taken.contains(i)).map(|(_, group)| group.comments.as_slice()).collect()
}

fn taken_by_body(body: &Body, taken: &mut std::collections::HashSet<usize>) {
    for item in &body.items {
        taken.extend(item.lead.into_iter().chain(item.line));
        taken_by_value(&item.value, taken);
    }
}

fn taken_by_value(value: &Value, taken: &mut std::collections::HashSet<usize>) {
    taken.extend(value.lead.into_iter().chain(value.line));
    match &value.kind {
        ValueKind::Object(body) => taken_by_body(body, taken),
        ValueKind::List(values) => values.iter().for_each(|value| taken_by_value(value, taken)),
        _ => {}
    }
}

struct Printer<'a> {
    document: &'a Document,
    loose: Vec<&'a [Comment]>,
    /// The first loose group that is not yet written: they are written in order.
    next_loose: usize,
}

impl<'a> Printer<'a> {
    fn top(&mut self, body: &'a Body) -> Lines {
        let mut out = Lines::new();
        for (i, item) in body.items.iter().enumerate() {
            for group in self.loose_before(item.pos()) {
                self.comments(group, &mut out);
                out.end_line();
            }
            out.append(self.item(item));
            if let Some(next) = body.items.get(i + 1) {
                out.end_line();
                let tight = next.pos().line == item.pos().line + 1 && is_empty_block(item) && is_empty_block(next);
                if !tight {
                    out.end_line();
                }
            }
        }
        let last = Pos { line: u32::MAX, column: u32::MAX };
        for (i, group) in self.loose_before(last).into_iter().enumerate() {
            if i > 0 || !body.items.is_empty() {
                out.end_line();
                if !body.items.is_empty() {
                    out.end_line();
                }
            }
            self.comments(group, &mut out);
        }
        out
    }

    /// Takes the loose groups that begin before `pos`.
    fn loose_before(&mut self, pos: Pos) -> Vec<&'a [Comment]> {
        let start = self.next_loose;
        while self.loose.get(self.next_loose).is_some_and(|group| group[0].pos < pos) {
            self.next_loose += 1;
        }
        self.loose[start..self.next_loose].to_vec()
    }

    /// Writes each comment on lines of its own.
    fn comments(&self, comments: &[Comment], out: &mut Lines) {
        for comment in comments {
            out.push_verbatim(&comment.text);
            out.end_line();
        }
    }

    fn group(&self, index: Option<usize>) -> &'a [Comment] {
        index.map_or(&[], |index| self.document.comments[index].comments.as_slice())
    }

    fn item(&mut self, item: &'a Item) -> Lines {
        let mut out = Lines::new();
        self.comments(self.group(item.lead), &mut out);
        if !is_beside(item) {
            self.comments(self.group(item.line), &mut out);
        }
        for key in &item.keys {
            out.push(&key.raw);
            out.push(" ");
        }
        if item.assigned {
            out.push("= ");
        }
        out.append(self.value(&item.value));
        if is_beside(item) && item.line.is_some() {
            out.push(" ");
            self.beside(item.line, &mut out);
        }
        out
    }

    fn beside(&self, index: Option<usize>, out: &mut Lines) {
        for (i, comment) in self.group(index).iter().enumerate() {
            if i > 0 {
                out.push(" ");
            }
            out.push_verbatim(&comment.text);
        }
    }

    fn value(&mut self, value: &'a Value) -> Lines {
        match &value.kind {
            ValueKind::Object(body) => self.object(body),
            ValueKind::List(values) => self.list(value, values),
            _ => {
                let mut out = Lines::new();
                let raw = value.raw.as_str();
                out.push_verbatim(if value.heredoc { raw.strip_suffix('\n').unwrap_or(raw) } else { raw });
                out
            }
        }
    }

    fn object(&mut self, body: &'a Body) -> Lines {
        let mut out = Lines::new();
        out.push("{");
        let mut opened = false;
        let mut commented = false;
        let mut i = 0;
        loop {
            let next = body.items.get(i).map(Item::pos);
            for group in self.loose_before(next.unwrap_or(body.end)) {
                if !opened {
                    out.end_line();
                    opened = true;
                }
                if i > 0 {
                    commented = true;
                    out.end_line();
                }
                let mut inner = Lines::new();
                self.comments(group, &mut inner);
                out.append(inner.indented());
                let last = group[group.len() - 1].pos.line;
                if next.is_some_and(|next| next.line != last + 1) {
                    out.end_line();
                }
            }
            if i == body.items.len() {
                break;
            }
            if !opened {
                out.end_line();
                opened = true;
            }
            let run = self.aligned_run(body, i);
            if i > 0 && !commented {
                out.end_line();
            }
            let inner = if run > 0 { self.aligned(&body.items[i..i + run]) } else { self.item(&body.items[i]) };
            i += run.max(1);
            out.append(inner.indented());
            out.end_line();
        }
        out.push("}");
        out
    }

    /// How many items from `start` on stand on adjacent lines and fit on one line each.
    fn aligned_run(&mut self, body: &'a Body, start: usize) -> usize {
        if body.items.len() == 1 {
            return 0;
        }
        let line = |i: usize| body.items.get(i).map_or(0, |item| item.pos().line);
        let mut run = 0;
        loop {
            let i = start + run;
            let Some(item) = body.items.get(i) else { return run };
            if !self.fits_one_line(item) {
                return run;
            }
            if line(i) + 1 == line(i + 1) {
                run += 1;
            } else {
                return run + usize::from(i > 0 && line(i) == line(i - 1) + 1);
            }
        }
    }

    /// Whether the item takes one line, or two with the comment above it. Objects with items never do.
    fn fits_one_line(&mut self, item: &'a Item) -> bool {
        match &item.value.kind {
            ValueKind::Object(body) if !body.items.is_empty() || self.has_loose_before(body.end) => false,
            ValueKind::List(values) if !is_one_line_list(&item.value, values) => false,
            _ => self.item(item).count() <= 2,
        }
    }

    fn has_loose_before(&self, pos: Pos) -> bool {
        self.loose.get(self.next_loose).is_some_and(|group| group[0].pos < pos)
    }

    fn aligned(&mut self, items: &'a [Item]) -> Lines {
        let rows: Vec<(&Item, Lines)> = items.iter().map(|item| (item, self.value(&item.value))).collect();
        let key_width = rows.iter().map(|(item, _)| item.keys[0].raw.len()).max().unwrap_or(0);
        let value_width = rows.iter().map(|(_, value)| value.width()).max().unwrap_or(0);
        let mut out = Lines::new();
        for (i, (item, value)) in rows.into_iter().enumerate() {
            if i > 0 {
                out.end_line();
            }
            self.comments(self.group(item.lead), &mut out);
            if !is_beside(item) {
                self.comments(self.group(item.line), &mut out);
            }
            for key in &item.keys {
                out.push(&key.raw);
                out.spaces(key_width.saturating_sub(key.raw.len()) + 1);
            }
            // The reference turns a bare `key {}` among assignments into one, and two of them into an error.
            if item.assigned {
                out.push("= ");
            }
            let width = value.width();
            out.append(value);
            if is_beside(item) && item.line.is_some() {
                out.spaces(value_width - width + 1);
                self.beside(item.line, &mut out);
            }
        }
        out
    }

    fn list(&mut self, list: &'a Value, values: &'a [Value]) -> Lines {
        let mut out = Lines::new();
        out.push("[");
        if is_one_line_list(list, values) {
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(", ");
                }
                out.append(self.value(value));
                if value.heredoc {
                    out.end_line();
                }
            }
            out.push("]");
            return out;
        }
        out.end_line();
        let longest = values.iter().map(|value| value.raw.as_str().len()).max().unwrap_or(0);
        let mut blank_above = false;
        for (i, value) in values.iter().enumerate() {
            let lead = self.group(value.lead);
            if !lead.is_empty() && i > 0 && !blank_above {
                out.end_line();
            }
            let mut row = Lines::new();
            for group in self.loose_before(value.pos) {
                self.comments(group, &mut row);
            }
            self.comments(lead, &mut row);
            let text = self.value(value);
            let width = text.width();
            row.append(text);
            if value.heredoc {
                row.end_line();
            }
            row.push(",");
            if value.line.is_some() {
                row.spaces(longest.saturating_sub(width) + 1);
                self.beside(value.line, &mut row);
            }
            out.append(row.indented());
            out.end_line();
            blank_above = !lead.is_empty() && i + 1 < values.len();
            if blank_above {
                out.end_line();
            }
        }
        out.push("]");
        out
    }
}

/// Whether the comment of the item stands beside it, not between key and value.
fn is_beside(item: &Item) -> bool {
    item.value.pos.line == item.keys[0].pos.line
}

fn is_empty_block(item: &Item) -> bool {
    item.lead.is_none() && !item.assigned && item.value.as_body().is_some_and(|body| body.items.is_empty())
}

/// A list stays on one line when it was on one, holds literals only, and no comment stands in it.
fn is_one_line_list(list: &Value, values: &[Value]) -> bool {
    values.iter().all(|value| {
        value.pos.line == list.pos.line
            && !matches!(value.kind, ValueKind::Object(_) | ValueKind::List(_))
            && (!value.heredoc || values.len() == 1)
            && value.line.is_none()
    })
}

/// Text in lines. The later lines of a literal are fixed: indenting would change what they mean.
struct Lines(Vec<Line>);

struct Line {
    text: String,
    fixed: bool,
}

impl Lines {
    fn new() -> Self {
        Self(vec![Line { text: String::new(), fixed: false }])
    }

    fn last(&mut self) -> &mut Line {
        let last = self.0.len() - 1; // never empty
        &mut self.0[last]
    }

    fn push(&mut self, text: &str) {
        self.last().text.push_str(text);
    }

    fn push_verbatim(&mut self, text: &str) {
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.0.push(Line { text: String::new(), fixed: true });
            }
            self.push(line);
        }
    }

    fn spaces(&mut self, count: usize) {
        self.last().text.extend(std::iter::repeat_n(' ', count));
    }

    fn end_line(&mut self) {
        self.0.push(Line { text: String::new(), fixed: false });
    }

    fn append(&mut self, other: Self) {
        for (i, line) in other.0.into_iter().enumerate() {
            if i == 0 {
                self.last().text.push_str(&line.text);
            } else {
                self.0.push(line);
            }
        }
    }

    fn indented(mut self) -> Self {
        for line in self.0.iter_mut().filter(|line| !line.fixed && !line.text.is_empty()) {
            line.text.insert_str(0, "  ");
        }
        self
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn width(&self) -> usize {
        self.0.iter().map(|line| line.text.len()).sum::<usize>() + self.0.len() - 1
    }

    fn finish(self) -> String {
        let lines: Vec<String> = self.0.into_iter().map(|line| line.text).collect();
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Each pair was formatted by the reference.
    #[test]
    fn agrees_with_the_reference() {
        for (source, want) in [
            (
                "path \"secret/*\" { capabilities=[\"read\",\"list\"] }\npath   \"kv/*\" {\ncapabilities = [ \"create\" ]\n}\n",
                "path \"secret/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n\npath \"kv/*\" {\n  capabilities = [\"create\"]\n}\n",
            ),
            (
                "path \"a/*\" {\n\n\nrequired_parameters  =[\n] # l78\n  capabilities=  [\"read\",  \"create\"]\n/* e31 */\n  \
                 min_wrapping_ttl =60\n} # l7\n\n# c8\n",
                "path \"a/*\" {\n  required_parameters = [] # l78\n\n  capabilities = [\"read\", \"create\"]\n\n  /* e31 */\n  \
                 min_wrapping_ttl = 60\n} # l7\n\n# c8\n\n",
            ),
            (
                "path \"y\" {\n\n\nmin_wrapping_ttl  =  60 # l24\n\npolicy =  \"read\"\n\ndenied_parameters {a  = []\n/* e41 */\n  \
                 \"b\"=  [\n  \"1\",\n  \"x y\",\n]\nlonger =[\"1\", 2,] # l25\n}\n}\n",
                "path \"y\" {\n  min_wrapping_ttl = 60 # l24\n\n  policy = \"read\"\n\n  denied_parameters {\n    a = []\n\n    /* e41 */\n    \
                 \"b\" = [\n      \"1\",\n      \"x y\",\n    ]\n\n    longer = [\"1\", 2] # l25\n  }\n}\n",
            ),
        ] {
            assert_eq!(format(source).expect("formats"), want, "{source}");
        }
    }

    #[test]
    fn heredocs_keep_their_indentation() {
        let source = "a {\nb = <<E\n  x\ny\nE\nc = 1\n}";
        assert_eq!(format(source).expect("formats"), "a {\n  b = <<E\n  x\ny\nE\n\n  c = 1\n}\n");
    }

    #[test]
    fn wrong_texts_and_json_are_refused() {
        assert_eq!(format("path \"x\" {").expect_err("open").to_string(), "At 1:12: object expected closing RBRACE got: EOF");
        assert_eq!(format("{\"a\":1}").expect_err("JSON").to_string(), "At 1:1: expected: IDENT | STRING got: LBRACE");
    }

    fn shape(body: &Body) -> String {
        let value = |value: &Value| match &value.kind {
            ValueKind::Object(body) => shape(body),
            ValueKind::List(values) => format!("{:?}", values.iter().map(|v| v.raw.as_str().to_owned()).collect::<Vec<_>>()),
            _ => value.raw.as_str().trim_end().to_owned(),
        };
        body.items
            .iter()
            .map(|item| format!("{:?}:{};", item.keys.iter().map(|k| &k.name).collect::<Vec<_>>(), value(&item.value)))
            .collect()
    }

    fn comments(source: &str) -> Vec<String> {
        let document = parse_hcl(source).expect("reads");
        let mut all: Vec<String> =
            document.comments.iter().flat_map(|group| group.comments.iter().map(|c| c.text.trim().to_owned())).collect();
        all.sort();
        all
    }

    proptest! {
        /// Whatever the form: the same items and values, the same comments, and a second formatting changes nothing that matters.
        #[test]
        fn nothing_is_lost(parts in proptest::collection::vec(prop_oneof![
            Just("path \"a\" {\n"), Just("}\n"), Just("k = 1\n"), Just("kk = [1, 2] # beside\n"), Just("l = [\n# in\n1, # one\n2\n]\n"),
            Just("# above\n"), Just("\n"), Just("/* wide\n  two */\n"), Just("b {}\n"), Just("o = {\nx = \"1\" // in\n}\n"), Just("# p\n# q\n"),
            Just("h = <<E\n text\nE\n"),
        ], 0..14)) {
            let mut open = 0u32;
            let mut source = String::new();
            for (i, part) in parts.iter().enumerate() {
                match *part {
                    "}\n" if open == 0 => continue,
                    "}\n" => open -= 1,
                    "path \"a\" {\n" => open += 1,
                    _ => {}
                }
                // Keys must differ within one object.
                source.push_str(&part.replacen("k =", &format!("k{i} ="), 1).replacen("l =", &format!("l{i} ="), 1)
                    .replacen("o =", &format!("o{i} ="), 1).replacen("h =", &format!("h{i} ="), 1));
            }
            source.push_str(&"}\n".repeat(open as usize));
            let once = format(&source).expect("formats");
            let (before, after) = (parse_hcl(&source).expect("reads"), parse_hcl(&once).expect("reads again"));
            prop_assert_eq!(shape(&before.body), shape(&after.body), "{}\n--\n{}", source, once);
            prop_assert_eq!(comments(&source), comments(&once), "{}\n--\n{}", source, once);
        }
    }
}
