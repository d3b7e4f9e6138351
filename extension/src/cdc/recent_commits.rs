// SPDX-License-Identifier: Apache-2.0
//! Which transactions were applied that a snapshot of the source may still take for running: a transaction is in the
//! stream once its commit is on disk, and may be seen later, for as long as it waits for a standby.
use doris_cdc::snapshot::CopySnapshot;
use doris_cdc::Lsn;
use std::collections::HashMap;

/// More than so many transactions of a table are not kept.
const KEPT_MAX: usize = 4096;

/// The transactions that have changed each table since the last look, or were running then.
#[derive(Default)]
pub(super) struct RecentCommits {
    tables: HashMap<u32, Vec<(u32, Lsn)>>,
    /// Nothing is known of transactions that began before this one: not before the first look, and not when there were
    /// too many.
    from: Option<u64>,
}

impl RecentCommits {
    /// A transaction changes a table.
    pub(super) fn record(&mut self, table: u32, xid: u32, commit: Lsn) {
        let known = self.tables.entry(table).or_default();
        if known.last() == Some(&(xid, commit)) {
            return;
        }
        if known.len() >= KEPT_MAX {
            self.tables.clear();
            self.from = None;
            return;
        }
        known.push((xid, commit));
    }

    /// The source was looked at: what that snapshot holds is forgotten.
    pub(super) fn forget_seen(&mut self, seen: &CopySnapshot) {
        self.from.get_or_insert(seen.xmax());
        self.tables.retain(|_, known| {
            known.retain(|(xid, commit)| !seen.holds(*xid, *commit));
            !known.is_empty()
        });
    }

    /// Whether a snapshot holds all of a table that was applied before it was taken.
    pub(super) fn is_behind(&self, seen: &CopySnapshot, table: u32) -> bool {
        let held = |(xid, commit): &(u32, Lsn)| seen.holds(*xid, *commit);
        self.from.is_some_and(|from| seen.xmin() >= from)
            && self
                .tables
                .get(&table)
                .is_none_or(|known| known.iter().all(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> CopySnapshot {
        CopySnapshot::parse(text, Lsn(1000)).unwrap()
    }

    #[test]
    fn a_transaction_that_still_waits_is_not_held() {
        let mut recent_commits = RecentCommits::default();
        assert!(!recent_commits.is_behind(&snapshot("100:100:"), 1));
        recent_commits.forget_seen(&snapshot("100:100:"));
        assert!(recent_commits.is_behind(&snapshot("100:100:"), 1));
        recent_commits.record(1, 105, Lsn(900));
        recent_commits.record(1, 105, Lsn(900));
        assert!(!recent_commits.is_behind(&snapshot("105:106:105"), 1));
        assert!(recent_commits.is_behind(&snapshot("105:106:105"), 2));
        assert!(recent_commits.is_behind(&snapshot("106:106:"), 1));
        // It ran before anything was known.
        assert!(!recent_commits.is_behind(&snapshot("99:106:99"), 2));
    }

    #[test]
    fn too_many_are_forgotten_together() {
        let mut recent_commits = RecentCommits::default();
        recent_commits.forget_seen(&snapshot("100:100:"));
        (0..=KEPT_MAX as u32).for_each(|n| recent_commits.record(1, 100 + n, Lsn(1)));
        assert!(!recent_commits.is_behind(&snapshot("9999:9999:"), 1));
        recent_commits.forget_seen(&snapshot("5000:9999:5000"));
        assert!(!recent_commits.is_behind(&snapshot("5000:9999:5000"), 1));
        assert!(recent_commits.is_behind(&snapshot("9999:9999:"), 1));
    }
}
