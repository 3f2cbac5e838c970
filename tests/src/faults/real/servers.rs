//! The servers of the trials: trials that break none of them share a pair, the others have some of their own.

use std::sync::Arc;

use anyhow::Result;
use parking_lot::Mutex;

use crate::Services;

/// Trials that share servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Over a pair that nobody breaks.
    Shared,
    /// One after another, with a RabbitMQ that they break.
    Broker,
    /// One after another, with a Redis that they break and that syncs every second.
    RedisEverySecond,
    /// One after another, with a Redis that they break and that syncs always.
    RedisAlways,
}

impl Lane {
    /// All.
    pub(super) const ALL: [Self; 4] = [Self::Broker, Self::Shared, Self::RedisEverySecond, Self::RedisAlways];

    /// Trials at the same time.
    pub(super) fn width(self, cores: usize) -> usize {
        match self {
            Self::Shared => 2 * cores,
            Self::Broker | Self::RedisEverySecond | Self::RedisAlways => 1,
        }
    }
}

/// The servers of a trial.
#[derive(Debug, Clone)]
pub(super) struct ServersOfTrial {
    pub(super) rabbitmq: Arc<Services>,
    pub(super) redis: Arc<Services>,
}

/// What was started, each once.
#[derive(Debug, Default)]
pub(super) struct Servers {
    shared: Place,
    broker: Place,
    every_second: Place,
    always: Place,
}

type Place = Mutex<Option<Arc<Services>>>;

impl Servers {
    /// The servers of a lane; started when they are needed first.
    pub(super) fn of(&self, lane: Lane) -> Result<ServersOfTrial> {
        let only_redis = ("SERVICES_ONLY", "redis");
        match lane {
            Lane::Shared => {
                let pair = started(&self.shared, &[])?;
                Ok(ServersOfTrial { rabbitmq: Arc::clone(&pair), redis: pair })
            }
            Lane::Broker => {
                let pair = started(&self.broker, &[])?;
                Ok(ServersOfTrial { rabbitmq: Arc::clone(&pair), redis: pair })
            }
            Lane::RedisEverySecond => Ok(ServersOfTrial {
                redis: started(&self.every_second, &[only_redis])?,
                rabbitmq: started(&self.shared, &[])?,
            }),
            Lane::RedisAlways => Ok(ServersOfTrial {
                redis: started(&self.always, &[only_redis, ("SERVICES_FSYNC", "always")])?,
                rabbitmq: started(&self.shared, &[])?,
            }),
        }
    }
}

fn started(place: &Place, settings: &[(&'static str, &'static str)]) -> Result<Arc<Services>> {
    let mut place = place.lock();
    if let Some(services) = place.as_ref() {
        return Ok(Arc::clone(services));
    }
    let services = Arc::new(Services::start_with(settings)?);
    *place = Some(Arc::clone(&services));
    Ok(services)
}
