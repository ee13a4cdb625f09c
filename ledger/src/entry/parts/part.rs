//! Stored form of a part of a pipeline.

use selvedge_domain::{Digest, Part, PartName, PipelineName};
use serde::{Deserialize, Serialize};

use super::Malformed;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::entry) struct PartV1 {
    pipeline: String,
    definition: String,
    name: String,
    number: u32,
    of: u32,
    reviews: bool,
}

impl PartV1 {
    pub(in crate::entry) fn store(part: &Part) -> Self {
        let Part { pipeline, definition, name, number, of, reviews } = part;
        Self {
            pipeline: pipeline.to_string(),
            definition: definition.to_string(),
            name: name.to_string(),
            number: *number,
            of: *of,
            reviews: *reviews,
        }
    }

    pub(in crate::entry) fn restore(self) -> Result<Part, Malformed> {
        Ok(Part {
            pipeline: PipelineName::parse(&self.pipeline)?,
            definition: Digest::parse(&self.definition)?,
            name: PartName::parse(&self.name)?,
            number: self.number,
            of: self.of,
            reviews: self.reviews,
        })
    }
}
