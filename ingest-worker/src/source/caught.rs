//! Calls libraries that may panic over damaged input.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
}

static QUIET: Once = Once::new();

/// The result of `work`, `None` when it panicked; what it held is then not to be used again.
///
/// The panic is not printed: its message may quote a document.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    QUIET.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_CATCHING.get() {
                print(panic);
            }
        }));
    });
    let was_catching = IS_CATCHING.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CATCHING.set(was_catching);
    result.ok()
}
