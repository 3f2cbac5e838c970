//! Exit codes and what an operator reads about an error.

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("cannot open the store")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_service_that_ends_well_exits_with_0() {
    let code = run("test", |_| async { Ok::<(), Outer>(()) });
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
}

#[test]
fn a_service_that_fails_exits_with_1() {
    let code = run("test", |_| async { Err(Outer(std::io::Error::other("no room"))) });
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(1)));
}

#[test]
fn the_causes_of_an_error_are_told() {
    let error = Outer(std::io::Error::other("no room"));
    assert_eq!(with_causes(&error), "cannot open the store: no room");
}

#[tokio::test]
async fn the_first_signal_asks_to_end_and_the_second_ends_at_once() {
    let shutdown = CancellationToken::new();
    let tell = |name: &'static str| {
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    let listener = signals("test", &shutdown);
    let teller = async {
        // The listener, polled first, has installed its handlers.
        tell("-TERM");
        shutdown.cancelled().await;
        tell("-INT");
    };
    let (code, ()) = futures::future::join(listener, teller).await;
    assert_eq!(code, 130);
}
