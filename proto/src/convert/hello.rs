//! What workers and coordinators tell each other before the first claim.

use clara_lifecycle::{
    hello::{Hello, ProtocolRange, Welcome},
    id::ClassName,
    resources::Resources,
    stage::Stage,
};

use super::{ConvertError, names::known, parsed, required};
use crate::v1;

/// The wire form of a coordinator's answer to a worker that can speak `version` with it, or nothing.
pub fn welcome_to_wire(welcome: Welcome, version: Option<u32>) -> v1::HelloResponse {
    v1::HelloResponse {
        build_version: welcome.build,
        protocol: Some(welcome.protocol.into()),
        protocol_version: version,
        classes: welcome.classes.into_iter().map(Into::into).collect(),
    }
}

impl From<ProtocolRange> for v1::ProtocolRange {
    fn from(ProtocolRange { oldest, newest }: ProtocolRange) -> Self {
        Self { oldest, newest }
    }
}

impl TryFrom<v1::ProtocolRange> for ProtocolRange {
    type Error = ConvertError;

    fn try_from(v1::ProtocolRange { oldest, newest }: v1::ProtocolRange) -> Result<Self, ConvertError> {
        if oldest == 0 || newest < oldest {
            let found = format!("{oldest} to {newest}; expected versions from 1 on, the oldest first");
            return Err(ConvertError::invalid("protocol", found));
        }
        Ok(Self { oldest, newest })
    }
}

impl From<Resources> for v1::Resources {
    fn from(Resources { gpu_memory_bytes, gpu_kind, cpu_cores }: Resources) -> Self {
        Self { gpu_memory_bytes, gpu_kind, cpu_cores }
    }
}

impl From<v1::Resources> for Resources {
    fn from(v1::Resources { gpu_memory_bytes, gpu_kind, cpu_cores }: v1::Resources) -> Self {
        Self { gpu_memory_bytes, gpu_kind, cpu_cores }
    }
}

impl From<Hello> for v1::HelloRequest {
    fn from(hello: Hello) -> Self {
        Self {
            worker_id: hello.worker.into(),
            stage: v1::Stage::from(hello.stage).into(),
            protocol: Some(hello.protocol.into()),
            build_version: hello.build,
            slots: hello.slots,
            resources: Some(hello.resources.into()),
            classes: hello.classes.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::HelloRequest> for Hello {
    type Error = ConvertError;

    fn try_from(hello: v1::HelloRequest) -> Result<Self, ConvertError> {
        Ok(Self {
            worker: parsed("worker_id", &hello.worker_id)?,
            stage: known::<v1::Stage, Stage>("stage", hello.stage)?,
            protocol: required("protocol", hello.protocol)?.try_into()?,
            build: hello.build_version,
            slots: hello.slots,
            resources: required("resources", hello.resources)?.into(),
            classes: classes(&hello.classes)?,
        })
    }
}

impl TryFrom<v1::HelloResponse> for Welcome {
    type Error = ConvertError;

    fn try_from(welcome: v1::HelloResponse) -> Result<Self, ConvertError> {
        Ok(Self {
            build: welcome.build_version,
            protocol: required("protocol", welcome.protocol)?.try_into()?,
            classes: classes(&welcome.classes)?,
        })
    }
}

fn classes(names: &[String]) -> Result<Vec<ClassName>, ConvertError> {
    names.iter().map(|name| parsed("classes", name)).collect()
}
