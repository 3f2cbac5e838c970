//! The registry as users see it: list, show, review, audit, export and import.

mod alias;
mod audit;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod garbage;
mod review;
pub mod signature;
mod verify;

use clara_lifecycle::{
    adapter::{AdapterQuery, AdapterStatus, AdapterVersion, Alias, Family, RegistryFile},
    counted::counted,
    id::Domain,
    spec::Method,
};
use clara_runtime::config::RegistrySettings;
use semver::VersionReq;

use crate::{
    change::Change,
    driver::{Driver, DriverError, audit},
    records::is_conflict,
};

pub(crate) use alias::{AliasChange, Deprecate};
pub(crate) use audit::AuditVerification;
pub(crate) use garbage::{GarbageOptions, GarbageReport};
pub(crate) use review::{Review, Reviewed};
use signature::{SignatureError, Signer};
pub(crate) use verify::Verification;
pub use verify::{SignatureState, Verified};

/// Which versions a listing shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdapterFilter {
    pub(crate) domain: Option<Domain>,
    pub(crate) method: Option<Method>,
    pub(crate) status: Option<AdapterStatus>,
    pub(crate) range: Option<VersionReq>,
}

/// A version, whether it is in production, and the aliases that point at it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct AdapterView {
    #[serde(flatten)]
    pub(crate) version: AdapterVersion,
    pub(crate) champion: bool,
    pub(crate) aliases: Vec<String>,
}

impl AdapterView {
    /// The one-sided 95 % bounds of the judge score, as the gate had them.
    pub(crate) fn bounds(&self) -> Option<(f64, f64)> {
        let report = &self.version.evaluation.as_ref()?.report;
        report.lower_bound.zip(report.upper_bound)
    }
}

/// Who may approve, and how versions are signed.
#[derive(Debug, Default)]
pub struct RegistryPolicy {
    /// Whether an approval by people needs two of them.
    pub four_eyes: bool,
    /// Signs versions when they are approved.
    pub signer: Option<Signer>,
    /// Whether a version without a signature may not be rolled out.
    pub require_signature: bool,
}

impl RegistryPolicy {
    /// What the settings say; reads the key.
    ///
    /// # Errors
    /// [`SignatureError::Key`] when the key cannot be used.
    pub fn of(settings: &RegistrySettings) -> Result<Self, SignatureError> {
        let RegistrySettings { four_eyes, signing_key, require_signature } = settings;
        let signer = signing_key.as_deref().map(Signer::from_file).transpose()?;
        Ok(Self { four_eyes: *four_eyes, signer, require_signature: *require_signature })
    }
}

impl Driver {
    pub(crate) async fn adapters(&self, filter: &AdapterFilter) -> Result<Vec<AdapterView>, DriverError> {
        let families: Vec<Family> = self.records.families().await?;
        let wanted = |family: &Family| {
            filter.domain.as_ref().is_none_or(|domain| family.domain == *domain)
                && filter.method.is_none_or(|method| family.method == method)
        };
        let mut views = Vec::new();
        for family in families.iter().filter(|family| wanted(family)) {
            for version in &family.versions {
                let in_range = filter.range.as_ref().is_none_or(|range| range.matches(&version.version));
                if in_range && filter.status.is_none_or(|status| version.status == status) {
                    views.push(view_of(family, version.clone()));
                }
            }
        }
        Ok(views)
    }

    /// One version by its id, `FAMILY@ALIAS` or `FAMILY@RANGE`.
    pub(crate) async fn adapter(&self, adapter_id: &str) -> Result<AdapterView, DriverError> {
        let unknown = || DriverError::UnknownAdapter { adapter: adapter_id.to_owned() };
        let query: AdapterQuery = adapter_id.parse().map_err(|_| unknown())?;
        let family = self.records.family(query.family_id()).await?.ok_or_else(unknown)?.value;
        let version = family.find(&query).ok_or_else(unknown)?.clone();
        Ok(view_of(&family, version))
    }

    /// Signs a version's files, or keeps a bundle that was made elsewhere and is about exactly these files.
    pub(crate) async fn sign(
        &self,
        adapter_id: &str,
        actor: &str,
        bundle: Option<serde_json::Value>,
    ) -> Result<AdapterView, DriverError> {
        let seen = self.adapter(adapter_id).await?.version;
        let adapter_id = seen.adapter_id.clone();
        let files = &verify::with_files(&seen)?.adapter;
        let bundle = match (bundle, &self.registry.signer) {
            (Some(bundle), _) => {
                signature::describes(&bundle, files)?;
                bundle
            }
            (None, Some(signer)) => signature::sign(signer, &adapter_id, files)?,
            (None, None) => {
                return Err(DriverError::Invalid(
                    "the coordinator has no key: name one in registry.signing_key, or sign with --key FILE"
                        .into(),
                ));
            }
        };
        loop {
            let mut change = Change::begin(self).await?;
            let family = change.family(&seen.domain, seen.method).await?;
            family.note(&adapter_id, |version| version.signature = Some(bundle.clone()))?;
            let view = family.version(&adapter_id).cloned().map(|version| view_of(family, version));
            let key = signature::key_of(&bundle).unwrap_or_else(|| "an unnamed key".to_owned());
            audit(&mut change, "adapter.signed", &adapter_id, (actor, &format!("with key {key}"))).await?;
            match (change.commit().await, view) {
                (Err(error), _) if is_conflict(&error) => {}
                (Err(error), _) => return Err(error),
                (Ok(()), Some(view)) => return Ok(view),
                (Ok(()), None) => return self.adapter(&adapter_id).await,
            }
        }
    }

    pub(crate) async fn export_registry(&self) -> Result<RegistryFile, DriverError> {
        let families = self.records.families().await?;
        let now = self.records.state.now().await?;
        Ok(RegistryFile::new(families, crate::change::time_text(now)))
    }

    /// Takes over versions that are not here yet; answers how many were new and how many were here. A version that is
    /// here with other files refuses the whole file.
    pub(crate) async fn import_registry(
        &self,
        file: RegistryFile,
        actor: &str,
    ) -> Result<(u32, u32), DriverError> {
        file.check()?;
        loop {
            match self.import_once(file.clone(), actor).await {
                Err(error) if is_conflict(&error) => {}
                done => return done,
            }
        }
    }

    async fn import_once(&self, file: RegistryFile, actor: &str) -> Result<(u32, u32), DriverError> {
        let mut change = Change::begin(self).await?;
        let (mut imported, mut total) = (0, 0);
        for other in file.families {
            total += u32::try_from(other.versions.len()).unwrap_or(u32::MAX);
            let subject = other.family_id.clone();
            let family = change.family(&other.domain, other.method).await?;
            let new = family.merge(other)?;
            imported += new;
            if new > 0 {
                let reason = format!("{} from a file", counted(new, "version"));
                audit(&mut change, "registry.imported", &subject, (actor, &reason)).await?;
            }
        }
        change.commit().await?;
        Ok((imported, total - imported))
    }
}

fn view_of(family: &Family, version: AdapterVersion) -> AdapterView {
    let aliases: Vec<String> =
        family.aliases_of(&version.adapter_id).into_iter().map(Alias::to_string).collect();
    AdapterView { champion: family.champion() == Some(version.adapter_id.as_str()), aliases, version }
}

/// Signs a version that was approved, if there is a key.
pub(crate) fn sign_in(
    family: &mut Family,
    adapter_id: &str,
    policy: &RegistryPolicy,
) -> Result<(), DriverError> {
    let Some(signer) = &policy.signer else { return Ok(()) };
    let lineage = family.version(adapter_id).and_then(|version| version.lineage.as_ref());
    let Some(lineage) = lineage else { return Ok(()) };
    let bundle = signature::sign(signer, adapter_id, &lineage.adapter)?;
    family.note(adapter_id, |version| version.signature = Some(bundle))?;
    Ok(())
}

#[cfg(test)]
mod tests;
