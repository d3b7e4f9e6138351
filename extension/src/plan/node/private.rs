// SPDX-License-Identifier: Apache-2.0
//! What a plan node of ours holds besides PostgreSQL's fields.
use super::super::convert::Top;
use super::super::reasons;
use super::super::required_columns::ParentRequirements;
use super::SCAN_METHODS;
use crate::pg::custom;
use pgrx::{pg_sys, PgList};

/// The subtree that a node stands for.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn original(scan: *mut pg_sys::CustomScan) -> *mut pg_sys::Plan {
    // SAFETY: custom_private's first element, made by `hook`.
    unsafe {
        PgList::<pg_sys::Plan>::from_pg((*scan).custom_private)
            .get_ptr(0)
            .unwrap_or(std::ptr::null_mut())
    }
}

/// How the parent wanted it converted.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn requirements(scan: *mut pg_sys::CustomScan) -> ParentRequirements {
    // SAFETY: custom_private's second element, made by `hook`.
    unsafe {
        let list = PgList::<pg_sys::List>::from_pg((*scan).custom_private).get_ptr(1);
        ParentRequirements::decode(list.unwrap_or(std::ptr::null_mut()))
    }
}

/// Why the node above it was not converted, if there is one.
///
/// # Safety
/// A custom scan node of ours.
pub unsafe fn above(scan: *mut pg_sys::CustomScan) -> Option<String> {
    // SAFETY: custom_private's third element, made by `hook`.
    unsafe {
        let node = PgList::<pg_sys::Node>::from_pg((*scan).custom_private).get_ptr(2)?;
        Some(reasons::decode(node))
    }
}

/// Whether a plan node is one of ours.
///
/// # Safety
/// A plan node.
pub unsafe fn is_ours(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller.
    unsafe { custom::is_of(plan, &SCAN_METHODS) }
}

/// Whether a conversion puts out what the node was planned to put out.
///
/// # Safety
/// A plan node of ours.
pub unsafe fn same_shape(scan: *mut pg_sys::CustomScan, top: &Top) -> bool {
    // SAFETY: a plan node of ours.
    unsafe {
        let planned = PgList::<pg_sys::TargetEntry>::from_pg((*scan).custom_scan_tlist);
        let subplans = PgList::<pg_sys::Plan>::from_pg((*scan).custom_plans);
        let fed: Vec<_> = top.sources.iter().filter_map(|source| source.fed).collect();
        let same_subplans = subplans.len() == fed.len()
            && subplans
                .iter_ptr()
                .zip(fed)
                .all(|(a, b)| (*a).plan_node_id == (*b).plan_node_id);
        same_subplans
            && planned.len() == top.scope.items.len()
            && PgList::<pg_sys::Node>::from_pg((*scan).scan.plan.qual).len() == top.quals.len()
            && planned
                .iter_ptr()
                .zip(&top.scope.items)
                .all(|(target, item)| {
                    // Of the same type may also be what is only a part of it.
                    pg_sys::equal((*target).expr.cast(), item.shown.cast())
                })
    }
}
