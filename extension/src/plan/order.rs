// SPDX-License-Identifier: Apache-2.0
//! Whether rows of a plan node come in an order that PostgreSQL may have planned with.
use super::{hook, node};
use pgrx::pg_sys::{self, NodeTag};

/// Whether somebody above might rely on the order of a node's rows. Errs on the side of yes.
///
/// # Safety
/// A finished plan.
pub unsafe fn may_matter(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on to the caller; tags are checked before casts.
    unsafe {
        if plan.is_null() {
            return false;
        }
        if node::is_ours(plan) {
            return may_matter(node::original(plan.cast()));
        }
        match (*plan).type_ {
            // PostgreSQL knows no order of these.
            NodeTag::T_SeqScan
            | NodeTag::T_SampleScan
            | NodeTag::T_BitmapHeapScan
            | NodeTag::T_TidScan
            | NodeTag::T_HashJoin => false,
            NodeTag::T_Agg => {
                let agg = plan as *mut pg_sys::Agg;
                (*agg).aggstrategy == pg_sys::AggStrategy::AGG_SORTED || !(*agg).chain.is_null()
            }
            NodeTag::T_NestLoop | NodeTag::T_Hash | NodeTag::T_Material | NodeTag::T_Limit => {
                may_matter((*plan).lefttree)
            }
            NodeTag::T_Result => !(*plan).lefttree.is_null() && may_matter((*plan).lefttree),
            NodeTag::T_SubqueryScan => may_matter((*(plan as *mut pg_sys::SubqueryScan)).subplan),
            NodeTag::T_Append => hook::appended(plan)
                .iter_ptr()
                .any(|child| may_matter(child)),
            _ => true,
        }
    }
}
