// SPDX-License-Identifier: Apache-2.0
//! Where rows come from: tables of ours, subqueries, one-time filters, and subplans that PostgreSQL runs.
use super::super::expr::Translator;
use super::super::scope::{Column, Item, Scope};
use super::super::{hook, no, subplan_source, types, Converted, Reason};
use super::{renamed, Converter, Core, Output, Source};
use crate::read::attrs::PlaceColumn;
use doris_engine::expr::Expr;
use doris_engine::plan::Node;
use pgrx::pg_sys;
use pgrx::PgList;

impl Converter<'_> {
    /// The rows of a subplan that PostgreSQL runs.
    pub(super) unsafe fn fed(&mut self, plan: *mut pg_sys::Plan, why: &Reason) -> Output {
        // SAFETY: as for `top`.
        unsafe {
            pgrx::debug1!("not vectorised: {}", why.0);
            let mut entries = Vec::new();
            let mut attributes = Vec::new();
            let mut data_types = Vec::new();
            for target in PgList::<pg_sys::TargetEntry>::from_pg((*plan).targetlist).iter_ptr() {
                let node = (*target).expr as *mut pg_sys::Node;
                let data_type = subplan_source::column_type(
                    pg_sys::exprType(node),
                    pg_sys::exprTypmod(node),
                    pg_sys::exprCollation(node),
                    self.exact,
                );
                let column = match data_type {
                    Ok(data_type) => Column::Native(attributes.len(), data_type),
                    Err(_) => Column::Missing,
                };
                if let Ok(data_type) = data_type {
                    attributes.push((*target).resno as u16);
                    data_types.push(data_type);
                }
                entries.push(Item {
                    shown: subplan_source::shown(node, plan),
                    ..Item::new(node, column)
                });
            }
            let source = self.sources.len();
            let columns = (0..attributes.len()).collect();
            self.sources.push(Source {
                rti: 0,
                attributes,
                filters: Vec::new(),
                fed: Some(plan),
                exact: self.exact,
            });
            let node = Node::scan(self.id(), source, columns, data_types, Vec::new());
            Output { node, entries }
        }
    }

    pub(super) unsafe fn scan(&mut self, scan: *mut pg_sys::SeqScan) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            #[cfg(feature = "pg15")]
            let rti = (*scan).scan.scanrelid;
            #[cfg(not(feature = "pg15"))]
            let rti = (*scan).scan.scanrelid;
            let rte = pg_sys::rt_fetch(rti, (*self.stmt).rtable);
            if !hook::is_doris_table((*rte).relid) {
                return no(format!(
                    "table {} is not a doris table",
                    crate::pg::table_name((*rte).relid)
                ));
            }
            let plan = &raw mut (*scan).scan.plan;
            let mut used: *mut pg_sys::Bitmapset = std::ptr::null_mut();
            pg_sys::pull_varattnos((*plan).targetlist.cast(), rti, &mut used);
            pg_sys::pull_varattnos((*plan).qual.cast(), rti, &mut used);
            let mut attributes = Vec::new();
            let mut items = Vec::new();
            let mut data_types = Vec::new();
            let mut member = -1;
            loop {
                member = pg_sys::bms_next_member(used, member);
                if member < 0 {
                    break;
                }
                // System columns have negative numbers.
                let number = (member + pg_sys::FirstLowInvalidHeapAttributeNumber) as i16;
                if number == 0 {
                    return no("a whole row");
                }
                let is_place = PlaceColumn::of(number as u16).is_some();
                if number < 0 && !(is_place && hook::writing::changes_rows(self.stmt)) {
                    return no("a system column");
                }
                let (mut oid, mut typmod, mut collation) = Default::default();
                pg_sys::get_atttypetypmodcoll(
                    (*rte).relid,
                    number,
                    &mut oid,
                    &mut typmod,
                    &mut collation,
                );
                let var = pg_sys::makeVar(rti as _, number, oid, typmod, collation, 0);
                let Ok(data_type) = types::column_type(oid, typmod, collation) else {
                    items.push(Item::new(var.cast(), Column::Missing));
                    continue;
                };
                let column = Column::Native(attributes.len(), data_type);
                items.push(Item::new(var.cast(), column));
                attributes.push(number as u16);
                data_types.push(data_type);
            }
            let source = self.sources.len();
            let columns = (0..attributes.len()).collect();
            self.sources.push(Source {
                rti,
                attributes,
                filters: Vec::new(),
                fed: None,
                exact: true,
            });
            let id = self.id();
            let node = Node::scan(id, source, columns, data_types, Vec::new());
            Ok(Core {
                node,
                scope: Scope { items },
            })
        }
    }

    /// The conditions of a scan that stays PostgreSQL's, as filters of its source: all before the first that the engine
    /// does not evaluate by itself.
    ///
    /// # Safety
    /// A scan of the statement's finished plan.
    pub unsafe fn conditions(mut self, scan: *mut pg_sys::SeqScan) -> Converted<Source> {
        // SAFETY: passed on to the caller; the copy has conditions and no output.
        unsafe {
            let mut conditions_only = std::ptr::read(scan);
            conditions_only.scan.plan.targetlist = std::ptr::null_mut();
            let core = self.scan(&mut conditions_only)?;
            let quals = PgList::<pg_sys::Node>::from_pg((*scan).scan.plan.qual);
            let mut filters = Vec::new();
            for qual in quals.iter_ptr() {
                let filter = Translator {
                    scope: &core.scope,
                    params: &mut *self.params,
                    externals: None,
                    numerics: true,
                    tested: Vec::new(),
                    guarded: false,
                    stmt: self.stmt,
                }
                .expr(qual);
                match filter {
                    Ok(filter) if filter.is_native() => filters.push(filter),
                    _ => break,
                }
            }
            match self.sources.pop() {
                Some(source) => Ok(Source { filters, ..source }),
                None => no("a scan without a table"),
            }
        }
    }

    pub(super) unsafe fn subquery(
        &mut self,
        scan: *mut pg_sys::SubqueryScan,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*scan).subplan, ordered)?;
            let rti = (*scan).scan.scanrelid as i32;
            Ok(renamed(input, rti))
        }
    }

    pub(super) unsafe fn result(
        &mut self,
        result: *mut pg_sys::Result,
        ordered: bool,
    ) -> Converted<Core> {
        // SAFETY: as for `top`.
        unsafe {
            let input = self.output((*result).plan.lefttree, ordered)?;
            let core = renamed(input, pg_sys::OUTER_VAR);
            let once = (*result).resconstantqual as *mut pg_sys::List;
            let mut filters = Vec::new();
            for qual in PgList::<pg_sys::Node>::from_pg(once).iter_ptr() {
                filters.push(self.translate(&core.scope, qual)?);
            }
            if filters.is_empty() {
                return Ok(core);
            }
            let predicate = match filters.len() {
                1 => filters.remove(0),
                _ => Expr::and(filters)?,
            };
            let node = Node::filter(self.id(), core.node, predicate);
            Ok(Core { node, ..core })
        }
    }
}
