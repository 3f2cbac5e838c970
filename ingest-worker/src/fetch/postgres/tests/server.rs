//! A private PostgreSQL of one test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clara_lifecycle::id::Domain;
use clara_runtime::config::{HumanDuration, RemoteKind, RemoteSettings, Secret};

use crate::fetch::RemoteRequest;

/// A PostgreSQL from the distribution's package, ended and removed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let said = script("start", folder.path());
        let port = said.trim().strip_prefix("PORT=").and_then(|port| port.parse().ok());
        Self { folder, port: port.unwrap_or_else(|| panic!("no port in {said}")) }
    }

    pub(super) fn kill(&self) {
        script("kill", self.folder.path());
    }

    pub(super) fn start_again(&self) {
        script("start", self.folder.path());
    }

    /// Carries out statements as the owner.
    pub(super) fn sql(&self, statements: &str) {
        self.sql_in("postgres", statements);
    }

    pub(super) fn sql_in(&self, database: &str, statements: &str) {
        let done = Command::new("psql")
            .args([
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
                "-U",
                "owner",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(self.folder.path().join("socket"))
            .args(["-c", statements])
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    pub(super) fn url(&self, user: &str, more: &str) -> Secret {
        Secret::new(format!("postgres://{user}@localhost:{}/{more}", self.port))
    }

    pub(super) fn tls(&self, file: &str) -> PathBuf {
        self.folder.path().join("tls").join(file)
    }

    /// A request for a table, as the owner and without TLS.
    pub(super) fn request(&self, table: &str) -> RemoteRequest {
        let settings = RemoteSettings {
            kind: Some(RemoteKind::Postgres),
            url: Some(self.url("owner:owner", "postgres?sslmode=disable")),
            table: Some(table.to_owned()),
            page: 7,
            timeout: HumanDuration(Duration::from_secs(20)),
            patience: HumanDuration(Duration::from_secs(20)),
            ..RemoteSettings::default()
        };
        request(settings)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        script("wipe", self.folder.path());
    }
}

pub(super) fn request(settings: RemoteSettings) -> RemoteRequest {
    RemoteRequest {
        source: "@laws".to_owned(),
        settings,
        domain: "verwaltungsrecht".parse::<Domain>().unwrap(),
        query: None,
        top_k: None,
        since: None,
    }
}

pub(super) fn fields(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    names.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect()
}

fn script(verb: &str, folder: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres.sh");
    let done = Command::new(script).arg(verb).arg(folder).output().unwrap();
    assert!(
        done.status.success(),
        "scripts/postgres.sh {verb} failed; scripts/setup.sh test installs PostgreSQL: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}
