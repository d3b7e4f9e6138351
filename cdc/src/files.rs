// SPDX-License-Identifier: Apache-2.0
//! Whether a source was written anew in a way that the stream does not tell of.
//!
//! ALTER TABLE may compute other values (`TYPE int USING v + 1`), a partition that is attached, detached, dropped or
//! truncated by itself brings or takes rows, and none of that is in the stream. All of it gives a source other files. So
//! do VACUUM FULL, CLUSTER and TRUNCATE, which change no values or are in the stream: those leave the rows of the
//! catalogue that describe the columns alone, which ALTER TABLE never does where it computes values.

/// What a source is made of, as its catalogue showed it at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The file of a table; of a partitioned one `oid:file` of each member below it (0 for those without a file), in the
    /// order of the oids.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Same,
    /// All that happened is in the stream, or changed no value.
    Told,
    /// Its rows may be others than the stream told of.
    Untold,
}

impl Files {
    /// What became of the source since it was as `before`.
    pub fn since(&self, before: &Files) -> Verdict {
        let told = if self.partitioned {
            self.only_born_since(before)
        } else {
            self.files == before.files || (self.marks == before.marks && self.marks.is_some())
        };
        if self == before {
            Verdict::Same
        } else if told
            && (self.partitioned, &self.published) == (before.partitioned, &before.published)
        {
            Verdict::Told
        } else {
            Verdict::Untold
        }
    }

    /// Whether nothing happened to the members but that some were created: empty, and published from then on.
    fn only_born_since(&self, before: &Files) -> bool {
        let list = |text: &Option<String>| -> Vec<String> {
            let words = text.iter().flat_map(|t| t.split(' '));
            words.map(str::to_owned).collect()
        };
        let (then, now, born) = (list(&before.files), list(&self.files), list(&self.marks));
        let oid = |member: &str| member.split(':').next().unwrap_or_default().to_owned();
        then.iter().all(|m| now.contains(m))
            && now
                .iter()
                .filter(|m| !then.contains(m))
                .all(|m| born.contains(&oid(m)))
    }
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
        assert_eq!(now.since(&table("10", "a")), Verdict::Untold);
        now.published = None;
        assert_eq!(now.since(&table("10", "a")), Verdict::Untold);
    }

    #[test]
    fn a_new_file_with_old_columns_is_told() {
        let before = table("10", "a");
        assert_eq!(table("10", "a").since(&before), Verdict::Same);
        assert_eq!(table("11", "a").since(&before), Verdict::Told);
    }

    #[test]
    fn new_columns_in_the_old_file_are_told() {
        assert_eq!(table("10", "b").since(&table("10", "a")), Verdict::Told);
    }

    #[test]
    fn a_new_file_with_new_columns_is_untold() {
        assert_eq!(table("11", "b").since(&table("10", "a")), Verdict::Untold);
    }

    #[test]
    fn what_was_never_looked_at_is_untold() {
        let unknown = Files::default();
        assert_eq!(table("11", "a").since(&unknown), Verdict::Untold);
        let mut half = table("11", "a");
        half.marks = None;
        let mut before = table("10", "a");
        before.marks = None;
        assert_eq!(half.since(&before), Verdict::Untold);
    }

    #[test]
    fn partitions_that_are_born_are_told() {
        let before = parts("1:1 2:2", "1");
        assert_eq!(parts("1:1 2:2", "1").since(&before), Verdict::Same);
        assert_eq!(parts("1:1 2:2 3:3", "1 3").since(&before), Verdict::Told);
        assert_eq!(parts("3:3", "3").since(&parts("", "")), Verdict::Told);
    }

    #[test]
    fn partitions_that_come_go_or_are_written_anew_are_untold() {
        let before = parts("1:1 2:2", "1");
        for (files, born) in [
            ("1:1 2:2 3:3", "1"),
            ("1:1 2:2 3:0 4:4", "1 4"),
            ("1:1", "1"),
            ("", ""),
            ("1:1 2:9", "1"),
            ("1:9 2:2", "1"),
        ] {
            assert_eq!(
                parts(files, born).since(&before),
                Verdict::Untold,
                "{files}"
            );
        }
    }
}
