//! Followers see what is said later, and the end; filters hold; a reading goes on where it ended.

use clara_lifecycle::{
    job::{AttemptKey, Event},
    log::{LogLevel, LogLine, LogPosition},
    samples,
    time::Timestamp,
};
use tokio_stream::StreamExt;

use super::*;
use crate::testing::{House, claim};

struct Reader {
    house: House,
    control: Control,
    job: JobId,
    key: AttemptKey,
}

impl Reader {
    /// A job whose first attempt is claimed.
    async fn new() -> Self {
        let house = House::new().await;
        let control = house.control();
        let job = house.submit(samples::spec()).await.id;
        let key = claim(&house.driver, &job, Stage::Ingest).await;
        Self { house, control, job, key }
    }

    async fn say(&self, number: u64) {
        let line = LogLine {
            number,
            at: Timestamp(0),
            level: LogLevel::Info,
            target: "clara_ingest_worker".to_owned(),
            message: "said".to_owned(),
        };
        self.house.driver.append_log(&self.job, self.key, vec![line]).await.unwrap();
    }

    fn request(&self) -> v1::ReadLogRequest {
        v1::ReadLogRequest { job_id: self.job.to_string(), ..v1::ReadLogRequest::default() }
    }

    async fn numbers(&self, request: v1::ReadLogRequest) -> Vec<u64> {
        let parts: Vec<_> = self.control.stream_log(request).await.unwrap().collect().await;
        parts.into_iter().flat_map(|part| part.unwrap().lines).map(|line| line.number).collect()
    }
}

#[tokio::test]
async fn a_follower_sees_later_lines_and_ends_with_the_job() {
    let reader = Reader::new().await;
    reader.say(1).await;
    let request = v1::ReadLogRequest { follow: true, ..reader.request() };
    let mut parts = reader.control.stream_log(request).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap().lines[0].number, 1);
    reader.say(2).await;
    assert_eq!(parts.next().await.unwrap().unwrap().lines[0].number, 2);
    reader.say(3).await;
    reader.house.driver.apply(&reader.job, Event::CancelRequested).await.unwrap();
    assert_eq!(parts.next().await.unwrap().unwrap().lines[0].number, 3);
    assert!(parts.next().await.is_none());
}

#[tokio::test]
async fn readings_are_filtered_and_go_on_after_a_known_line() {
    let reader = Reader::new().await;
    for number in 1..=3 {
        reader.say(number).await;
    }
    assert_eq!(reader.numbers(reader.request()).await, [1, 2, 3]);
    let known = LogPosition { fence: reader.key.fence, line: 1 };
    assert_eq!(
        reader.numbers(v1::ReadLogRequest { after: Some(known.into()), ..reader.request() }).await,
        [2, 3]
    );
    let ingest = Some(v1::Stage::Ingest.into());
    let of = |stage, attempt| v1::ReadLogRequest { stage, attempt, ..reader.request() };
    assert_eq!(reader.numbers(of(ingest, Some(1))).await, [1, 2, 3]);
    assert!(reader.numbers(of(ingest, Some(2))).await.is_empty());
    assert!(reader.numbers(of(Some(v1::Stage::Judge.into()), None)).await.is_empty());
}

#[tokio::test]
async fn a_stage_of_a_later_version_is_refused_by_name() {
    let reader = Reader::new().await;
    let request = v1::ReadLogRequest { stage: Some(77), ..reader.request() };
    let refused = reader.control.stream_log(request).await.err().unwrap();
    assert!(refused.to_string().contains("`stage` has the unknown value 77"), "{refused}");
}
