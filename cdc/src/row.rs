// SPDX-License-Identifier: Apache-2.0
//! Rows that a catalogue answered as text, read by the names of their columns.
//!
//! Nothing is made up for what cannot be read: a missing oid that became 0 would name no table, a missing position the
//! beginning of the WAL. Only an SQL NULL is nothing, where the reader expects one.
use std::str::FromStr;

/// A row of the answer to a question.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was asked for, for messages: "the columns of the source".
    question: &'static str,
    names: &'static [&'static str],
    values: Vec<Option<String>>,
}

/// A value that is not what the reader expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OddValue {
    /// There is no such column in the answer.
    #[error("the catalogue's answer about {question} has no column \"{column}\"")]
    Missing {
        /// What was asked for.
        question: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The value is NULL.
    #[error("column \"{column}\" of the catalogue's answer about {question} is null")]
    Null {
        /// What was asked for.
        question: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The value is of another kind.
    #[error("column \"{column}\" of the catalogue's answer about {question} holds \"{value}\"")]
    Odd {
        /// What was asked for.
        question: &'static str,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
}

impl Row {
    /// A row with a value for each of the names.
    pub fn new(
        question: &'static str,
        names: &'static [&'static str],
        values: Vec<Option<String>>,
    ) -> Self {
        Row {
            question,
            names,
            values,
        }
    }

    /// The text of a column; `None` is NULL.
    pub fn text(&self, column: &'static str) -> Result<Option<&str>, OddValue> {
        let at = self.names.iter().position(|name| *name == column);
        match at.and_then(|at| self.values.get(at)) {
            Some(value) => Ok(value.as_deref()),
            None => Err(OddValue::Missing {
                question: self.question,
                column,
            }),
        }
    }

    /// The value of a column that may be NULL.
    pub fn maybe<T: FromStr>(&self, column: &'static str) -> Result<Option<T>, OddValue> {
        self.maybe_by(column, |text| text.parse().ok())
    }

    /// The value of a column.
    pub fn get<T: FromStr>(&self, column: &'static str) -> Result<T, OddValue> {
        self.present(column, self.maybe(column)?)
    }

    /// As `maybe`, for what `read` makes of the text.
    pub fn maybe_by<T>(
        &self,
        column: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, OddValue> {
        let Some(text) = self.text(column)? else {
            return Ok(None);
        };
        match read(text) {
            Some(value) => Ok(Some(value)),
            None => Err(OddValue::Odd {
                question: self.question,
                column,
                value: text.to_owned(),
            }),
        }
    }

    /// A truth value that is not NULL.
    pub fn flag(&self, column: &'static str) -> Result<bool, OddValue> {
        let read = |text: &str| match text {
            "true" | "t" => Some(true),
            "false" | "f" => Some(false),
            _ => None,
        };
        self.present(column, self.maybe_by(column, read)?)
    }

    fn present<T>(&self, column: &'static str, value: Option<T>) -> Result<T, OddValue> {
        value.ok_or(OddValue::Null {
            question: self.question,
            column,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [Option<&str>; 3]) -> Row {
        let values = values.into_iter().map(|v| v.map(str::to_owned)).collect();
        Row::new("a table", &["oid", "name", "last"], values)
    }

    #[test]
    fn values_are_read_by_name_and_only_null_is_nothing() {
        let row = row([Some("16384"), Some("t"), None]);
        assert_eq!(row.get::<u32>("oid"), Ok(16384));
        assert_eq!(row.maybe::<i64>("last"), Ok(None));
        assert_eq!(row.text("name"), Ok(Some("t")));
        assert_eq!(row.flag("name"), Ok(true));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_column_and_question() {
        let row = row([Some("-1"), None, Some("x")]);
        let odd = row.get::<u32>("oid").unwrap_err().to_string();
        assert_eq!(
            odd,
            "column \"oid\" of the catalogue's answer about a table holds \"-1\""
        );
        assert!(matches!(
            row.get::<String>("name"),
            Err(OddValue::Null { .. })
        ));
        assert!(matches!(row.flag("name"), Err(OddValue::Null { .. })));
        assert!(matches!(
            row.maybe::<u64>("last"),
            Err(OddValue::Odd { .. })
        ));
        assert!(matches!(row.flag("last"), Err(OddValue::Odd { .. })));
        assert!(matches!(row.text("else"), Err(OddValue::Missing { .. })));
        let short = Row::new("a table", &["oid"], Vec::new());
        assert!(matches!(short.text("oid"), Err(OddValue::Missing { .. })));
    }
}
