// SPDX-License-Identifier: Apache-2.0
//! Which tables a sync takes: patterns of names, with `*` and `?`, and with `!` for what is left out.
//!
//! `orders`, `sales.*`, `!sales.tmp_*`. A pattern without a schema fits every schema. A list with nothing but
//! exclusions takes all the rest; order does not matter.

/// One pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    exclude: bool,
    schema: Option<String>,
    name: String,
}

/// Which tables are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    schemas: Vec<Pattern>,
    tables: Vec<Pattern>,
}

/// Not a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a pattern of table names")]
pub struct NotAPattern(String);

impl Selection {
    /// Reads patterns of tables and of schemas; an empty list leaves the choice to the other.
    pub fn parse(tables: &[String], schemas: &[String]) -> Result<Self, NotAPattern> {
        let read = |texts: &[String], qualified: bool| -> Result<Vec<Pattern>, NotAPattern> {
            texts.iter().map(|t| Pattern::parse(t, qualified)).collect()
        };
        Ok(Selection {
            schemas: read(schemas, false)?,
            tables: read(tables, true)?,
        })
    }

    /// Whether the table is wanted.
    pub fn takes(&self, schema: &str, table: &str) -> bool {
        fits(&self.schemas, |p| matches(&p.name, schema))
            && fits(&self.tables, |p| {
                p.schema.as_ref().is_none_or(|s| matches(s, schema)) && matches(&p.name, table)
            })
    }
}

fn fits(list: &[Pattern], is: impl Fn(&Pattern) -> bool) -> bool {
    let includes = list.iter().any(|p| !p.exclude);
    (!includes || list.iter().any(|p| !p.exclude && is(p)))
        && !list.iter().any(|p| p.exclude && is(p))
}

impl Pattern {
    fn parse(text: &str, qualified: bool) -> Result<Self, NotAPattern> {
        let bad = || NotAPattern(text.to_owned());
        let (exclude, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut words = split(rest).ok_or_else(bad)?;
        let name = words.pop().ok_or_else(bad)?;
        let schema = words.pop();
        if !words.is_empty() || (schema.is_some() && !qualified) {
            return Err(bad());
        }
        Ok(Pattern {
            exclude,
            schema,
            name,
        })
    }
}

/// The words between dots; double quotes keep what is in them from being split. `None` if one is empty.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                word.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    (!quoted && words.iter().all(|w| !w.is_empty())).then_some(words)
}

/// Whether a name fits a pattern of `*` (any text) and `?` (any character).
fn matches(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where to go on after the last star if what follows does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                retry = Some((i + 1, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => {
                i += 1;
                j += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (i, j) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(tables: &[&str], schemas: &[&str]) -> Selection {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Selection::parse(&owned(tables), &owned(schemas)).unwrap()
    }

    #[test]
    fn stars_and_question_marks_fit() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("*ab*ab", "abxabab", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn exclusions_win_and_alone_take_the_rest() {
        let s = selection(&["sales.*", "!sales.tmp_*"], &[]);
        assert!(s.takes("sales", "orders") && !s.takes("sales", "tmp_1"));
        assert!(!s.takes("public", "orders"));
        let s = selection(&["!tmp_*"], &[]);
        assert!(s.takes("a", "b") && !s.takes("a", "tmp_b"));
        let s = selection(&[], &["a*", "!ab"]);
        assert!(s.takes("a", "t") && !s.takes("ab", "t") && !s.takes("b", "t"));
        assert!(selection(&[], &[]).takes("any", "thing"));
    }

    #[test]
    fn quotes_keep_dots() {
        let s = selection(&["\"a.b\".\"c\"\"d\""], &[]);
        assert!(s.takes("a.b", "c\"d"));
        for bad in ["", "a.", ".a", "a.b.c", "\"a", "!"] {
            assert!(Selection::parse(&[bad.to_owned()], &[]).is_err(), "{bad}");
        }
        assert!(Selection::parse(&[], &["a.b".to_owned()]).is_err());
    }
}
