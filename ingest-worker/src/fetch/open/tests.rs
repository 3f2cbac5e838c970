//! Names of servers against the settings.

use super::{Servers, settings_of};

#[test]
fn a_name_that_the_settings_lack_is_answered_with_those_they_hold() {
    let mut servers = Servers::new();
    let refused = settings_of(&servers, "@gesetze").unwrap_err();
    assert!(refused.to_string().contains("knows none; add the table [sources.gesetze]"), "{refused}");
    servers.insert("urteile".into(), clara_runtime::config::RemoteSettings::default());
    let refused = settings_of(&servers, "@gesetze").unwrap_err();
    assert!(refused.to_string().contains("knows @urteile;"), "{refused}");
    assert!(!refused.is_retryable());
    assert!(settings_of(&servers, "@urteile").is_ok());
}
