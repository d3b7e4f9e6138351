// SPDX-License-Identifier: Apache-2.0
//! Walks query trees: which tables and columns a query uses, and the same query on other tables.
use crate::pg::{compat, raw, table_name};
use pgrx::prelude::*;
use pgrx::{pg_sys::NodeTag, PgList};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::c_void;

/// Tables and columns of a query.
#[derive(Default)]
pub(super) struct Used {
    pub(super) tables: Vec<pg_sys::Oid>,
    columns: BTreeSet<(u32, i16)>,
}

impl Used {
    /// The columns used of a table, by number.
    pub(super) fn columns_of(&self, relid: pg_sys::Oid) -> Vec<i16> {
        let relid = u32::from(relid);
        let of = self.columns.iter().filter(|(r, _)| *r == relid);
        of.map(|(_, number)| *number).collect()
    }
}

/// The mirrors that take the places of tables.
#[derive(Default)]
pub(super) struct Mapped {
    tables: BTreeMap<u32, (pg_sys::Oid, BTreeMap<i16, i16>)>,
}

impl Mapped {
    /// `target` takes the place of `source`; its columns are found under these numbers.
    pub(super) fn add(
        &mut self,
        source: pg_sys::Oid,
        target: pg_sys::Oid,
        columns: BTreeMap<i16, i16>,
    ) {
        self.tables.insert(u32::from(source), (target, columns));
    }

    fn is_target(&self, relid: pg_sys::Oid) -> bool {
        self.tables.values().any(|(target, _)| *target == relid)
    }
}

/// A relation's kind.
pub(super) fn kind(relid: pg_sys::Oid) -> u8 {
    // SAFETY: a catalogue look-up.
    unsafe { pg_sys::get_rel_relkind(relid) as u8 }
}

fn is_table(kind: u8) -> bool {
    kind == pg_sys::RELKIND_RELATION || kind == pg_sys::RELKIND_PARTITIONED_TABLE
}

/// What a walk does.
struct Walk<'a> {
    /// The range tables around the place, the outermost first.
    levels: Vec<*mut pg_sys::List>,
    used: Used,
    refused: Option<String>,
    /// The mirrors, on the way that puts them in.
    mapped: Option<&'a Mapped>,
    /// Stop at the first table of a user's.
    only_look: bool,
    found: bool,
}

impl<'a> Walk<'a> {
    fn new(mapped: Option<&'a Mapped>, only_look: bool) -> Self {
        Walk {
            levels: Vec::new(),
            used: Used::default(),
            refused: None,
            mapped,
            only_look,
            found: false,
        }
    }

    unsafe fn run(&mut self, query: *mut pg_sys::Query) {
        // SAFETY: the caller's query, and a context that lives through the walk.
        unsafe { visit(query.cast(), (&raw mut *self).cast()) };
    }
}

/// Whether a query reads a table that is not the system's.
///
/// # Safety
/// An analysed query.
pub(super) unsafe fn reads_tables(query: *mut pg_sys::Query) -> bool {
    let mut walk = Walk::new(None, true);
    // SAFETY: passed on to the caller.
    unsafe { walk.run(query) };
    walk.found
}

/// What a query uses, or why mirrors cannot answer it.
///
/// # Safety
/// An analysed query.
pub(super) unsafe fn used(query: *mut pg_sys::Query) -> Result<Used, String> {
    let mut walk = Walk::new(None, false);
    // SAFETY: passed on to the caller.
    unsafe { walk.run(query) };
    match walk.refused {
        Some(why) => Err(why),
        None => Ok(walk.used),
    }
}

/// Puts mirrors into the places of tables.
///
/// # Safety
/// An analysed query that the caller may change, of which `used` has told everything that is mapped.
pub(super) unsafe fn replace(query: *mut pg_sys::Query, mapped: &Mapped) {
    // SAFETY: passed on to the caller.
    unsafe { Walk::new(Some(mapped), false).run(query) };
}

/// Whether a plan reads no other tables than mirrors.
///
/// # Safety
/// A finished statement.
pub(super) unsafe fn reads_only(stmt: *mut pg_sys::PlannedStmt, mapped: &Mapped) -> bool {
    // SAFETY: passed on to the caller.
    let entries = unsafe { PgList::<pg_sys::RangeTblEntry>::from_pg((*stmt).rtable) };
    let mut entries = entries.iter_ptr();
    // SAFETY: entries of the list.
    entries.all(|e| unsafe {
        (*e).rtekind != pg_sys::RTEKind::RTE_RELATION
            || (*e).relkind as u8 == pg_sys::RELKIND_VIEW
            || mapped.is_target((*e).relid)
    })
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(node: *mut pg_sys::Node, context: *mut c_void) -> bool {
    // SAFETY: the context is the Walk of `run`; node tags say what a node is.
    unsafe {
        if node.is_null() {
            return false;
        }
        let walk = context.cast::<Walk<'_>>();
        match (*node).type_ {
            NodeTag::T_Query => {
                let query = node.cast::<pg_sys::Query>();
                (*walk).enter(query);
                // Columns of joins are looked at where they are used: they list all that their tables have.
                let flags = pg_sys::QTW_IGNORE_JOINALIASES as i32;
                let stop = pg_sys::query_tree_walker(query, Some(visit), context, flags);
                (*walk).leave(query);
                stop || (*walk).stopped()
            }
            NodeTag::T_Var => {
                (*walk).var(node.cast());
                false
            }
            _ => pg_sys::expression_tree_walker(node, Some(visit), context),
        }
    }
}

impl Walk<'_> {
    fn stopped(&self) -> bool {
        self.found || self.refused.is_some()
    }

    fn refuse(&mut self, why: impl Into<String>) {
        self.refused.get_or_insert(why.into());
    }

    unsafe fn enter(&mut self, query: *mut pg_sys::Query) {
        // SAFETY: a query; entries of its range table.
        unsafe {
            self.levels.push((*query).rtable);
            if self.mapped.is_some() {
                return;
            }
            if !(*query).rowMarks.is_null() && !self.only_look {
                self.refuse("the query locks rows");
            }
            if (*query).commandType != pg_sys::CmdType::CMD_SELECT {
                self.refuse("the query writes");
            }
            for entry in PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable).iter_ptr() {
                self.entry(entry);
            }
        }
    }

    unsafe fn entry(&mut self, entry: *mut pg_sys::RangeTblEntry) {
        // SAFETY: an entry of a range table.
        unsafe {
            if (*entry).rtekind == pg_sys::RTEKind::RTE_NAMEDTUPLESTORE {
                return self.refuse("the query reads a transition table");
            }
            let kind = (*entry).relkind as u8;
            // A view's own entry stays beside its query, for its rights only.
            if (*entry).rtekind != pg_sys::RTEKind::RTE_RELATION || kind == pg_sys::RELKIND_VIEW {
                return;
            }
            let relid = (*entry).relid;
            if self.only_look {
                self.found |= is_table(kind) && relid.to_u32() >= pg_sys::FirstNormalObjectId;
                return;
            }
            if !is_table(kind) {
                return self.refuse(format!("{} is not a table", table_name(relid)));
            }
            if crate::plan::hook::is_doris_table(relid) {
                return self.refuse(format!("{} is a doris table itself", table_name(relid)));
            }
            if !(*entry).tablesample.is_null() {
                return self.refuse("the query samples a table");
            }
            if kind == pg_sys::RELKIND_PARTITIONED_TABLE && !(*entry).inh {
                return self.refuse(format!(
                    "{} is read without its partitions",
                    table_name(relid)
                ));
            }
            if !self.used.tables.contains(&relid) {
                self.used.tables.push(relid);
            }
        }
    }

    unsafe fn var(&mut self, var: *mut pg_sys::Var) {
        if self.only_look {
            return;
        }
        // SAFETY: a variable of a query; it refers to a range table around it.
        unsafe {
            let Some(level) = self
                .levels
                .len()
                .checked_sub((*var).varlevelsup as usize + 1)
            else {
                return self.refuse("the query refers to another one");
            };
            let entry = pg_sys::rt_fetch((*var).varno as u32, self.levels[level]);
            let is_table = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                && is_table((*entry).relkind as u8);
            if (*entry).rtekind == pg_sys::RTEKind::RTE_JOIN && self.mapped.is_none() {
                return self.joined(entry, (*var).varattno, level);
            }
            if !is_table {
                return;
            }
            let (relid, number) = ((*entry).relid, (*var).varattno);
            match self.mapped {
                None if number < 0 => self.refuse("the query reads a system column"),
                None if number == 0 => self.refuse("the query reads rows as a whole"),
                None => {
                    self.used.columns.insert((u32::from(relid), number));
                }
                Some(mapped) => {
                    let columns = mapped.tables.get(&u32::from(relid));
                    let Some(to) = columns.and_then(|(_, columns)| columns.get(&number)) else {
                        error!("column {number} of {} was not looked up", table_name(relid));
                    };
                    if (*var).varnosyn == (*var).varno as pg_sys::Index
                        && (*var).varattnosyn == number
                    {
                        (*var).varattnosyn = *to;
                    }
                    (*var).varattno = *to;
                }
            }
        }
    }

    /// A column of a join, of the query at `level`: what stands for it is used.
    unsafe fn joined(&mut self, entry: *mut pg_sys::RangeTblEntry, number: i16, level: usize) {
        if number <= 0 {
            return self.refuse("the query reads rows of a join as a whole");
        }
        // SAFETY: the entry of a join, with an expression for each column.
        unsafe {
            let column = pg_sys::list_nth((*entry).joinaliasvars, i32::from(number) - 1);
            let inner = self.levels.split_off(level + 1);
            visit(column.cast(), (&raw mut *self).cast());
            self.levels.extend(inner);
        }
    }

    /// The columns of a join, on mirrors; those that nobody uses are not there.
    unsafe fn map_join(&mut self, entry: *mut pg_sys::RangeTblEntry, mapped: &Mapped) {
        // SAFETY: the entry of a join of the query being left; its list may be changed.
        unsafe {
            let list = (*entry).joinaliasvars;
            for i in 0..PgList::<pg_sys::Node>::from_pg(list).len() {
                let cell = pg_sys::list_nth_cell(list, i as i32);
                let node = (*cell).ptr_value.cast::<pg_sys::Node>();
                if node.is_null() {
                    continue;
                }
                let unused =
                    (*node).type_ == NodeTag::T_Var && self.is_unmapped(node.cast(), mapped);
                if unused {
                    let null = pg_sys::makeNullConst(
                        pg_sys::exprType(node),
                        pg_sys::exprTypmod(node),
                        pg_sys::exprCollation(node),
                    );
                    (*cell).ptr_value = null.cast();
                } else {
                    visit(node, (&raw mut *self).cast());
                }
            }
        }
    }

    /// Whether a variable is a column of a table that the query does not use.
    unsafe fn is_unmapped(&self, var: *mut pg_sys::Var, mapped: &Mapped) -> bool {
        // SAFETY: a variable of a join of the query being left.
        unsafe {
            let Some(rtable) = self.levels.last() else {
                return false;
            };
            let entry = pg_sys::rt_fetch((*var).varno as u32, *rtable);
            let columns = mapped.tables.get(&u32::from((*entry).relid));
            (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION
                && columns.is_some_and(|(_, columns)| !columns.contains_key(&(*var).varattno))
        }
    }

    /// The end of a query: its variables have been mapped, so its entries can be.
    unsafe fn leave(&mut self, query: *mut pg_sys::Query) {
        if let Some(mapped) = self.mapped {
            // SAFETY: entries of the query's range table.
            unsafe {
                for entry in PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable).iter_ptr() {
                    if (*entry).rtekind == pg_sys::RTEKind::RTE_JOIN {
                        self.map_join(entry, mapped);
                    }
                }
            }
        }
        self.levels.pop();
        let Some(mapped) = self.mapped else { return };
        // SAFETY: a query that may be changed.
        unsafe {
            for entry in PgList::<pg_sys::RangeTblEntry>::from_pg((*query).rtable).iter_ptr() {
                let relation = (*entry).rtekind == pg_sys::RTEKind::RTE_RELATION;
                let place = mapped.tables.get(&u32::from((*entry).relid));
                if let (true, Some((target, _))) = (relation, place) {
                    compat::waive_permissions(query, entry, *target);
                    (*entry).relid = *target;
                    (*entry).relkind = pg_sys::RELKIND_RELATION as _;
                    (*entry).rellockmode = pg_sys::AccessShareLock as i32;
                    (*entry).inh = raw::may_have_inheritors(*target);
                }
            }
        }
    }
}
