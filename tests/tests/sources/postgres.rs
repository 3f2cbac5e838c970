//! A private PostgreSQL of one test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// A PostgreSQL from the distribution's package, ended and removed when dropped.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
}

impl Postgres {
    /// Starts it; takes some seconds.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let said = script("start", folder.path())?;
        let port =
            said.trim().strip_prefix("PORT=").with_context(|| format!("no port in {said}"))?.parse()?;
        Ok(Self { folder, port })
    }

    /// Where its user `owner` with the password `owner` connects, by TLS.
    pub(crate) fn url(&self) -> String {
        format!("postgres://owner@localhost:{}/postgres", self.port)
    }

    /// The authority that signed its certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("tls/authority.pem")
    }

    /// Carries out statements of psql.
    pub(crate) fn sql(&self, statements: &str) -> Result<()> {
        let file = self.folder.path().join("statements.sql");
        fs::write(&file, statements)?;
        let mut command = Command::new("psql");
        command.args([
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "postgres",
            "-U",
            "owner",
            "-p",
            &self.port.to_string(),
        ]);
        command.arg("-h").arg(self.folder.path().join("socket")).arg("-f").arg(file);
        output(&mut command).map(drop)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Err(error) = script("wipe", self.folder.path()) {
            eprintln!("{error}");
        }
    }
}

fn script(verb: &str, folder: &Path) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
    output(Command::new(script).arg(verb).arg(folder))
}

/// What a command says that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}; run scripts/setup.sh test"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
