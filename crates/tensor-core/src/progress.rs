//! How long work reports where it is, and how it is told to stop.

/// Receives the progress of long work. Every method has a do-nothing default; `()` is the silent one.
///
/// ```
/// use scant_tensor_core::progress::Progress;
/// struct Print;
/// impl Progress for Print {
///     fn step(&self, done: u64, total: u64, what: &str) {
///         assert!(done <= total, "{what}");
///     }
/// }
/// Print.step(1, 2, "layer 1");
/// ().step(1, 2, "silent");
/// ```
pub trait Progress: Sync {
    /// `done` of `total` units are finished; `what` names the unit in work.
    fn step(&self, done: u64, total: u64, what: &str) {
        let _ = (done, total, what);
    }

    /// True once the caller wants the work to stop; long work asks between units and returns its `Cancelled` error.
    fn cancelled(&self) -> bool {
        false
    }
}

impl Progress for () {}
