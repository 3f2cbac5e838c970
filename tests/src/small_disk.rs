//! A disk that is soon full.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

/// A disk in memory, unmounted when dropped; needs root.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// A disk of a size such as `4m` in a new folder.
    ///
    /// # Errors
    /// When the folder is there already, or nothing can be mounted.
    pub fn new(folder: &Path, size: &str) -> Result<Self> {
        fs::create_dir(folder)?;
        let disk = Self(folder.to_owned());
        disk.mount(&format!("size={size}"))?;
        Ok(disk)
    }

    /// Gives it another size; what is on it stays.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub fn resize(&self, size: &str) -> Result<()> {
        self.mount(&format!("remount,size={size}"))
    }

    fn mount(&self, options: &str) -> Result<()> {
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0).status()?;
        ensure!(status.success(), "mount failed; it needs root");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A mount that stays behind is harmless to other tests.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
