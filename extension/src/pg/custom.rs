// SPDX-License-Identifier: Apache-2.0
//! What our custom scan nodes have in common: tables of callbacks, states, and nodes that stand over one plan.
use pgrx::pg_sys;
use pgrx::pg_sys::NodeTag;
use std::ffi::CStr;

/// A constant table of callbacks.
pub struct Methods<T>(pub T);

// SAFETY: never written after the library was loaded; pointers in it are to constants.
unsafe impl<T> Sync for Methods<T> {}

/// PostgreSQL's callbacks for a kind of plan node.
pub const fn scan_methods(
    name: &'static CStr,
    create_state: unsafe extern "C-unwind" fn(*mut pg_sys::CustomScan) -> *mut pg_sys::Node,
) -> Methods<pg_sys::CustomScanMethods> {
    Methods(pg_sys::CustomScanMethods {
        CustomName: name.as_ptr(),
        CreateCustomScanState: Some(create_state),
    })
}

/// What a node does while it runs.
pub struct Callbacks {
    /// Gets it ready to run; the last argument is of `EXEC_FLAG_*`.
    pub begin: unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState, *mut pg_sys::EState, i32),
    /// Gives the next row.
    pub exec:
        unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot,
    /// Gives back what it holds.
    pub end: unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState),
    /// Starts it again, maybe with other parameters.
    pub rescan: unsafe extern "C-unwind" fn(*mut pg_sys::CustomScanState),
    /// Shows its properties in EXPLAIN.
    pub explain: unsafe extern "C-unwind" fn(
        *mut pg_sys::CustomScanState,
        *mut pg_sys::List,
        *mut pg_sys::ExplainState,
    ),
}

/// PostgreSQL's callbacks for a running node, which no parallel worker runs and nothing asks to mark a position.
pub const fn exec_methods(
    name: &'static CStr,
    callbacks: Callbacks,
) -> Methods<pg_sys::CustomExecMethods> {
    Methods(pg_sys::CustomExecMethods {
        CustomName: name.as_ptr(),
        BeginCustomScan: Some(callbacks.begin),
        ExecCustomScan: Some(callbacks.exec),
        EndCustomScan: Some(callbacks.end),
        ReScanCustomScan: Some(callbacks.rescan),
        MarkPosCustomScan: None,
        RestrPosCustomScan: None,
        EstimateDSMCustomScan: None,
        InitializeDSMCustomScan: None,
        ReInitializeDSMCustomScan: None,
        InitializeWorkerCustomScan: None,
        ShutdownCustomScan: None,
        ExplainCustomScan: Some(callbacks.explain),
    })
}

/// A zeroed state.
///
/// # Safety
/// `S` begins with a `CustomScanState` and zeroes are a value of it. The current memory context is the executor's.
pub unsafe fn new_state<S>(
    methods: &'static Methods<pg_sys::CustomExecMethods>,
) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory of the state's size, whose first field is PostgreSQL's.
    unsafe {
        let state = pg_sys::palloc0(size_of::<S>()).cast::<pg_sys::CustomScanState>();
        (*state).ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).methods = &methods.0;
        state.cast()
    }
}

/// Whether a plan node is of a kind.
///
/// # Safety
/// A plan node or null.
pub unsafe fn is_of(
    plan: *mut pg_sys::Plan,
    methods: &'static Methods<pg_sys::CustomScanMethods>,
) -> bool {
    // SAFETY: the tag says what the node is.
    unsafe {
        !plan.is_null()
            && (*plan).type_ == NodeTag::T_CustomScan
            && std::ptr::eq((*plan.cast::<pg_sys::CustomScan>()).methods, &methods.0)
    }
}

/// A node over a plan, with its costs and parameters. The caller gives it a target list of its own.
///
/// # Safety
/// A finished plan.
pub unsafe fn over(
    child: *mut pg_sys::Plan,
    methods: &'static Methods<pg_sys::CustomScanMethods>,
) -> *mut pg_sys::CustomScan {
    // SAFETY: passed on to the caller; the new node is zeroed memory of its size.
    unsafe {
        let scan = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
        let plan = &raw mut (*scan).scan.plan;
        *plan = *child;
        (*plan).type_ = NodeTag::T_CustomScan;
        (*plan).lefttree = child;
        (*plan).righttree = std::ptr::null_mut();
        (*plan).qual = std::ptr::null_mut();
        (*plan).initPlan = std::ptr::null_mut();
        (*plan).parallel_aware = false;
        (*plan).parallel_safe = false;
        (*scan).methods = &methods.0;
        scan
    }
}

/// Scans an input again, with the changed parameters of the node above.
///
/// # Safety
/// A begun input of `node`.
pub unsafe fn rescan_input(node: *mut pg_sys::CustomScanState, input: *mut pg_sys::PlanState) {
    // SAFETY: passed on to the caller.
    unsafe {
        let changed = (*node).ss.ps.chgParam;
        if !changed.is_null() {
            pg_sys::UpdateChangedParamSet(input, changed);
        }
        // With changed parameters it begins anew by itself.
        if (*input).chgParam.is_null() {
            pg_sys::ExecReScan(input);
        }
    }
}
