//! How much memory this process holds.

#[cfg(test)]
mod tests;

/// Bytes of memory that this process holds now; `None` where the system does not tell, i.e. elsewhere than on Linux.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    resident_of(&status)
}

/// The value of `VmRSS`, which Linux gives in units of 1024 bytes.
fn resident_of(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}
