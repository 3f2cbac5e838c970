//! The system's words are read, and this process holds something.

use super::*;

#[test]
fn the_resident_set_is_read_in_bytes() {
    assert_eq!(resident_of("VmHWM:\t  200 kB\nVmRSS:\t  100 kB\nThreads:\t3\n"), Some(102_400));
    for other in ["", "VmHWM:\t 200 kB\n", "VmRSS:\t many kB\n"] {
        assert_eq!(resident_of(other), None, "{other}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn this_process_holds_more_than_a_mebibyte() {
    assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
}
