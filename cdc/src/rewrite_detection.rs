// SPDX-License-Identifier: Apache-2.0
//! Whether a source was written anew in a way that the stream does not tell of.
//!
//! ALTER TABLE may compute other values (`TYPE int USING v + 1`), a partition that is attached, detached, dropped or
//! truncated by itself brings or takes rows, and none of that is in the stream. All of it gives a source other files.
//! So do VACUUM FULL, CLUSTER and TRUNCATE, which change no values or are in the stream: those leave the rows of the
//! catalogue that describe the columns alone, which ALTER TABLE never does where it computes values.

use std::collections::{HashMap, HashSet};

/// What a source is made of, as its catalogue showed it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The file of a table; of a partitioned one `oid:file:entry` of each member below it, in the order of the oids:
    /// its file (0 for those without one, f for a foreign table, u for one that is not logged), and the transaction
    /// that made it a member. A member that the stream has told of before any look did has a question mark behind its
    /// oid.
    pub files: Option<String>,
    /// Of a table: a hash of what wrote the descriptions of its columns. Of a partitioned one: the oids of members that
    /// were created where they are, and never written anew.
    pub marks: Option<String>,
    /// The table is partitioned.
    pub partitioned: bool,
    /// Which transactions made the publication what it is, and put the table in; `None` if it is not in.
    pub published: Option<String>,
}

/// What became of a source between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Same,
    /// All that happened is in the stream, or changed no value.
    Told,
    /// That, and these members are no longer part of it: their rows went with them.
    Left(Vec<u32>),
    /// That, and these members came with rows of their own: what was written to them since is in the stream.
    Came(Vec<u32>),
    /// Its rows may be others than the stream told of.
    Untold,
}

/// The members in a text.
fn members(text: &Option<String>) -> impl Iterator<Item = (u32, &str)> {
    let words = text.iter().flat_map(|t| t.split(' '));
    words.filter_map(|word| {
        let (oid, rest) = word.split_once(':')?;
        Some((oid.parse().ok()?, rest))
    })
}

impl Files {
    /// What became of the source since it was as `before`. Members that were `empty` when they were attached brought
    /// nothing.
    pub fn since(&self, before: &Files, empty: &[u32]) -> Verdict {
        let same_kind =
            (self.partitioned, &self.published) == (before.partitioned, &before.published);
        if self == before {
            Verdict::Same
        } else if !same_kind {
            Verdict::Untold
        } else if self.partitioned {
            self.members_since(before, empty)
        } else if self.files == before.files || (self.marks == before.marks && self.marks.is_some())
        {
            Verdict::Told
        } else {
            Verdict::Untold
        }
    }

    /// Members that are new since `before` and were not created where they are: the oid, and whether it has a file of
    /// its own that was never written anew.
    pub fn attached_since(&self, before: &Files) -> Vec<(u32, bool)> {
        let known: HashMap<u32, &str> = known(before);
        let born = self.born(&known);
        let new =
            members(&self.files).filter(|(oid, _)| !known.contains_key(oid) && !born.contains(oid));
        new.map(|(oid, rest)| (oid, is_first(oid, rest))).collect()
    }

    /// Whether a member of this oid is known.
    pub fn has_member(&self, oid: u32) -> bool {
        members(&self.files).any(|(member, _)| member == oid)
    }

    /// Whether a member is a foreign table or unlogged.
    pub fn has_member_without_wal(&self) -> bool {
        members(&self.files).any(|(_, rest)| rest.starts_with("f:") || rest.starts_with("u:"))
    }

    /// Whether the member has rows of its own.
    pub fn has_rows(&self, oid: u32) -> bool {
        members(&self.files).any(|(member, rest)| member == oid && !rest.starts_with("0:"))
    }

    /// The text of the members that looks have shown.
    pub fn seen(&self) -> String {
        let words = self.files.iter().flat_map(|t| t.split(' '));
        let seen: Vec<&str> = words.filter(|w| !w.ends_with(":?")).collect();
        seen.join(" ")
    }

    /// Whether the stream has told of a member that no look has judged.
    pub fn has_noted(&self) -> bool {
        members(&self.files).any(|(_, rest)| rest == "?")
    }

    /// The members' oids.
    pub fn member_oids(&self) -> impl Iterator<Item = u32> + '_ {
        members(&self.files).map(|(oid, _)| oid)
    }

    /// Notes a member that the stream has told of: whatever a later look shows, it is looked at then.
    pub fn note_member(&mut self, oid: u32) {
        let noted = format!("{oid}:?");
        self.files = Some(match self.files.take() {
            Some(files) => format!("{files} {noted}"),
            None => noted,
        });
    }

    /// The members that were created as such; none are told if one was attached that has members of its own: those were
    /// created as its members, before it was one.
    fn born(&self, known: &HashMap<u32, &str>) -> HashSet<u32> {
        let words = self.marks.iter().flat_map(|t| t.split(' '));
        let born: HashSet<u32> = words.filter_map(|w| w.parse().ok()).collect();
        let brings_members = |(oid, rest): (u32, &str)| {
            rest.starts_with("0:") && !known.contains_key(&oid) && !born.contains(&oid)
        };
        if members(&self.files).any(brings_members) {
            return HashSet::new();
        }
        born
    }

    fn members_since(&self, before: &Files, empty: &[u32]) -> Verdict {
        let known = known(before);
        let now: HashMap<u32, &str> = members(&self.files).collect();
        let changed = known
            .iter()
            .any(|(oid, then)| now.get(oid).is_some_and(|n| n != then));
        // The stream has told of rows of one that nobody has seen as a member, and that is none any more.
        let passed =
            members(&before.files).any(|(oid, rest)| rest == "?" && !now.contains_key(&oid));
        let born = self.born(&known);
        let brings = |oid: &u32| {
            // A member without a file brings what its own members do.
            let without = now.get(oid).is_some_and(|rest| rest.starts_with("0:"));
            !known.contains_key(oid) && !born.contains(oid) && !empty.contains(oid) && !without
        };
        if changed || passed {
            return Verdict::Untold;
        }
        let mut came: Vec<u32> = now.keys().copied().filter(brings).collect();
        if !came.is_empty() {
            came.sort_unstable();
            let stays = known.keys().all(|oid| now.contains_key(oid));
            let told = came.iter().all(|oid| is_first(*oid, now[oid]));
            return match stays && told {
                true => Verdict::Came(came),
                false => Verdict::Untold,
            };
        }
        let mut left: Vec<u32> = known
            .into_keys()
            .filter(|oid| !now.contains_key(oid))
            .collect();
        left.sort_unstable();
        if left.is_empty() {
            Verdict::Told
        } else {
            Verdict::Left(left)
        }
    }
}

/// Whether a member's file is its first: nothing was thrown away with another.
fn is_first(oid: u32, rest: &str) -> bool {
    rest.split(':').next() == Some(oid.to_string().as_str())
}

/// Members that a look has shown.
fn known(files: &Files) -> HashMap<u32, &str> {
    members(&files.files)
        .filter(|(_, rest)| *rest != "?")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(files: &str, marks: &str) -> Files {
        Files {
            files: Some(files.into()),
            marks: Some(marks.into()),
            partitioned: false,
            published: Some("1".into()),
        }
    }

    fn parts(files: &str, born: &str) -> Files {
        let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
        Files {
            files: text(files),
            marks: text(born),
            partitioned: true,
            published: Some("1".into()),
        }
    }

    #[test]
    fn another_publication_may_have_left_something_out() {
        let mut now = table("10", "a");
        now.published = Some("2".into());
        assert_eq!(now.since(&table("10", "a"), &[]), Verdict::Untold);
        now.published = None;
        assert_eq!(now.since(&table("10", "a"), &[]), Verdict::Untold);
    }

    #[test]
    fn a_new_file_with_old_columns_is_told() {
        let before = table("10", "a");
        assert_eq!(table("10", "a").since(&before, &[]), Verdict::Same);
        assert_eq!(table("11", "a").since(&before, &[]), Verdict::Told);
    }

    #[test]
    fn new_columns_in_the_old_file_are_told() {
        assert_eq!(
            table("10", "b").since(&table("10", "a"), &[]),
            Verdict::Told
        );
    }

    #[test]
    fn a_new_file_with_new_columns_is_untold() {
        assert_eq!(
            table("11", "b").since(&table("10", "a"), &[]),
            Verdict::Untold
        );
    }

    #[test]
    fn what_was_never_looked_at_is_untold() {
        let unknown = Files::default();
        assert_eq!(table("11", "a").since(&unknown, &[]), Verdict::Untold);
        let mut half = table("11", "a");
        half.marks = None;
        let mut before = table("10", "a");
        before.marks = None;
        assert_eq!(half.since(&before, &[]), Verdict::Untold);
    }

    #[test]
    fn partitions_that_are_born_are_told() {
        let before = parts("1:1:9 2:2:9", "1");
        let since = |now: Files| now.since(&before, &[]);
        assert_eq!(since(parts("1:1:9 2:2:9", "1")), Verdict::Same);
        assert_eq!(since(parts("1:1:9 2:2:9 3:3:9", "1 3")), Verdict::Told);
        assert_eq!(
            parts("3:3:9", "3").since(&parts("", ""), &[]),
            Verdict::Told
        );
    }

    #[test]
    fn partitions_that_come_with_rows_or_are_written_anew_are_untold() {
        let before = parts("1:1:9 2:2:9", "1");
        for (files, born, came) in [
            ("1:1:9 2:2:9 3:3:9", "1", vec![3]),
            ("1:1:9 2:2:9 3:0:9 4:4:9", "1 3", vec![4]),
            // With members of its own, which were created as such.
            ("1:1:9 2:2:9 3:0:9 4:4:9 5:5:9", "1 4", vec![4, 5]),
        ] {
            let verdict = parts(files, born).since(&before, &[]);
            assert_eq!(verdict, Verdict::Came(came), "{files}");
        }
        for (files, born) in [
            ("1:1:9 2:7:9", "1"),
            ("1:7:9 2:2:9", "1"),
            // Attached after it had been written anew, or while others went or were.
            ("1:1:9 2:2:9 3:7:9", "1"),
            ("1:1:9 3:3:9", "1"),
            ("1:1:9 2:7:9 3:3:9", "1"),
            // Detached and attached again: what was written in between is not in the stream.
            ("1:1:10 2:2:9", "1"),
        ] {
            let verdict = parts(files, born).since(&before, &[]);
            assert_eq!(verdict, Verdict::Untold, "{files}");
        }
    }

    #[test]
    fn partitions_that_were_empty_when_they_came_are_told() {
        let before = parts("1:1:9", "1");
        let now = parts("1:1:9 2:2:9 3:0:9 4:4:9", "1");
        assert_eq!(
            now.attached_since(&before),
            [(2, true), (3, false), (4, true)]
        );
        assert_eq!(now.since(&before, &[2]), Verdict::Came(vec![4]));
        assert_eq!(now.since(&before, &[2, 4]), Verdict::Told);
        let rewritten = parts("1:1:9 2:7:9", "1");
        assert_eq!(rewritten.attached_since(&before), [(2, false)]);
    }

    #[test]
    fn partitions_that_go_are_named() {
        let before = parts("1:1:9 2:2:9", "1");
        let since = |now: Files| now.since(&before, &[]);
        assert_eq!(since(parts("1:1:9", "1")), Verdict::Left(vec![2]));
        assert_eq!(since(parts("", "")), Verdict::Left(vec![1, 2]));
        assert_eq!(since(parts("2:2:9 3:3:9", "3")), Verdict::Left(vec![1]));
        assert_eq!(since(parts("2:2:9 3:3:9", "")), Verdict::Untold);
    }

    #[test]
    fn partitions_that_nobody_saw_come_and_go_are_untold() {
        let mut before = parts("1:1:9", "1");
        before.note_member(2);
        assert!(before.has_member(2));
        assert_eq!(parts("1:1:9", "1").since(&before, &[]), Verdict::Untold);
        assert_eq!(
            parts("1:1:9 2:2:9", "1 2").since(&before, &[]),
            Verdict::Told
        );
        assert_eq!(
            parts("1:1:9 2:2:9", "1").since(&before, &[]),
            Verdict::Came(vec![2])
        );
        assert_eq!(before.seen(), "1:1:9");
        assert!(before.has_noted() && !parts("1:1:9", "1").has_noted());
        let mut none = parts("", "");
        none.note_member(2);
        assert_eq!(parts("", "").since(&none, &[]), Verdict::Untold);
    }
}
