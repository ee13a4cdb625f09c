//! What a request may say, as a table for each protocol, and a request made anew from what its table lists. Owns the three rules: a member
//! that is not listed is left out and named, a kind that is not listed is refused, and what a vendor would do on its side is refused
//! unless granted.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Egress;
use super::request::{LEFT_OUT_MAX, Unfit};

/// Longest name of an agent's that is told further. Members and kinds of the protocols are shorter.
const NAMED_BYTES_MAX: usize = 64;

/// What a value may be. `null` may stand wherever a member may: it says that there is none.
#[derive(Debug)]
pub enum Shape {
    /// A text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// Whatever it is: schemas and arguments of tools, which only their author can read.
    Any,
    /// A list of these.
    List(&'static Shape),
    /// A text, or this.
    TextOr(&'static Shape),
    /// An object with these members.
    Object(&'static [Member]),
    /// An object whose members are kinds of content themselves: one that is not listed is refused.
    Closed(&'static [Member]),
    /// An object that says in one member of what kind it is.
    Kinds {
        /// The member.
        tag: &'static str,
        /// What it is without one.
        untagged: Option<&'static str>,
        /// The kinds.
        kinds: &'static [Kind],
    },
    /// This, which is a way out on the vendor's side.
    Granted(Egress, &'static Shape),
}

/// A member and what it may be.
pub type Member = (&'static str, &'static Shape);

/// A kind of content or tool.
#[derive(Debug)]
pub struct Kind {
    /// What it calls itself; a `*` at the end stands for a date of eight digits, as vendors number versions.
    pub name: &'static str,
    /// Its members beside the one that says its kind.
    pub members: &'static [Member],
    /// What of the vendor's it uses.
    pub egress: Option<Egress>,
}

impl Kind {
    /// A kind that stays between the agent and the model.
    pub const fn plain(name: &'static str, members: &'static [Member]) -> Self {
        Self { name, members, egress: None }
    }

    /// A kind that is a way out on the vendor's side.
    pub const fn egress(egress: Egress, name: &'static str, members: &'static [Member]) -> Self {
        Self { name, members, egress: Some(egress) }
    }

    /// Whether `name` is what this kind calls itself.
    pub fn is_named(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            None => self.name == name,
            Some(stem) => name
                .strip_prefix(stem)
                .is_some_and(|version| version.len() == 8 && version.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }
}

/// How members are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As listed.
    Exact,
    /// As listed (`inlineData`), or with underscores (`inline_data`): both are the same member to Google. Rebuilt as listed.
    Either,
}

/// Makes a request anew, and notes what it used and what was left out.
#[derive(Debug)]
pub struct Builder<'a> {
    granted: &'a BTreeSet<Egress>,
    spelling: Spelling,
    /// What of the vendor's was used, all of it granted.
    pub used: BTreeSet<Egress>,
    /// What was left out, as paths.
    pub left_out: BTreeSet<String>,
}

impl<'a> Builder<'a> {
    /// For one request.
    pub fn new(granted: &'a BTreeSet<Egress>, spelling: Spelling) -> Self {
        Self { granted, spelling, used: BTreeSet::new(), left_out: BTreeSet::new() }
    }

    /// Makes `value`, which stands at `at`, anew as `shape` says.
    pub fn build(&mut self, shape: &Shape, at: &str, value: Value) -> Result<Value, Unfit> {
        match (shape, value) {
            (_, Value::Null) => Ok(Value::Null),
            (Shape::Granted(egress, shape), value) => {
                self.uses(*egress, at)?;
                self.build(shape, at, value)
            }
            (Shape::Text, value @ Value::String(_))
            | (Shape::Number, value @ Value::Number(_))
            | (Shape::Flag, value @ Value::Bool(_))
            | (Shape::TextOr(_), value @ Value::String(_))
            | (Shape::Any, value) => Ok(value),
            (Shape::TextOr(shape), value) => self.build(shape, at, value),
            (Shape::List(shape), Value::Array(values)) => {
                let at = format!("{at}[]");
                values
                    .into_iter()
                    .map(|value| self.build(shape, &at, value))
                    .collect::<Result<_, _>>()
                    .map(Value::Array)
            }
            (Shape::Object(members), Value::Object(object)) => self.members(members, at, object, false),
            (Shape::Closed(members), Value::Object(object)) => self.members(members, at, object, true),
            (Shape::Kinds { tag, untagged, kinds }, Value::Object(object)) => {
                self.kind(tag, *untagged, kinds, at, object)
            }
            _ => Err(Unfit::Shape(at.to_owned())),
        }
    }

    /// Notes that a way out is used, if it was granted.
    pub fn uses(&mut self, what: Egress, at: &str) -> Result<(), Unfit> {
        if !self.granted.contains(&what) {
            return Err(Unfit::Egress { what, at: at.to_owned() });
        }
        self.used.insert(what);
        Ok(())
    }

    fn kind(
        &mut self,
        tag: &'static str,
        untagged: Option<&'static str>,
        kinds: &[Kind],
        at: &str,
        mut object: Map<String, Value>,
    ) -> Result<Value, Unfit> {
        let said = object.remove(tag);
        let name = match (&said, untagged) {
            (Some(Value::String(name)), _) => name.as_str(),
            (None | Some(Value::Null), Some(name)) => name,
            _ => return Err(Unfit::Shape(below(at, tag))),
        };
        let Some(kind) = kinds.iter().find(|kind| kind.is_named(name)) else {
            return Err(Unfit::Unknown { kind: named(name), at: at.to_owned() });
        };
        if let Some(egress) = kind.egress {
            self.uses(egress, at)?;
        }
        let mut built = self.members(kind.members, at, object, false)?;
        if let (Some(said), Some(built)) = (said, built.as_object_mut()) {
            built.insert(tag.to_owned(), said);
        }
        Ok(built)
    }

    fn members(
        &mut self,
        members: &[Member],
        at: &str,
        object: Map<String, Value>,
        is_closed: bool,
    ) -> Result<Value, Unfit> {
        let mut built = Map::new();
        for (name, value) in object {
            match members.iter().find(|(listed, _)| self.is_spelled(listed, &name)) {
                Some((listed, shape)) => {
                    let at = below(at, listed);
                    let value = self.build(shape, &at, value)?;
                    if built.insert((*listed).to_owned(), value).is_some() {
                        return Err(Unfit::Shape(at));
                    }
                }
                None if is_closed => return Err(Unfit::Unknown { kind: named(&name), at: at.to_owned() }),
                None => self.leaves_out(below(at, &named(&name))),
            }
        }
        Ok(Value::Object(built))
    }

    fn is_spelled(&self, listed: &str, name: &str) -> bool {
        if listed == name || self.spelling == Spelling::Exact {
            return listed == name;
        }
        let mut spelled = String::with_capacity(listed.len() + 4);
        for letter in listed.chars() {
            if letter.is_ascii_uppercase() {
                spelled.push('_');
            }
            spelled.push(letter.to_ascii_lowercase());
        }
        spelled == name
    }

    /// Names a member as left out, if not too many are.
    pub fn leaves_out(&mut self, at: String) {
        if self.left_out.len() < LEFT_OUT_MAX {
            self.left_out.insert(at);
        }
    }
}

/// The path of a member.
fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// A name that somebody else chose, as it may stand in an error or a record.
pub fn named(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).take(NAMED_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    static BLOCK: Shape = Shape::Kinds {
        tag: "type",
        untagged: Some("text"),
        kinds: &[
            Kind::plain("text", &[("text", &Shape::Text)]),
            Kind::plain("group", &[("blocks", &Shape::List(&BLOCK))]),
            Kind::egress(Egress::VendorTools, "search_*", &[("most", &Shape::Number)]),
        ],
    };
    static REQUEST: Shape = Shape::Object(&[
        ("model", &Shape::Text),
        ("isFast", &Shape::Flag),
        ("blocks", &Shape::TextOr(&Shape::List(&BLOCK))),
        ("part", &Shape::Closed(&[("text", &Shape::Text)])),
        ("kept", &Shape::Granted(Egress::StoredState, &Shape::Text)),
    ]);

    fn build(value: Value, granted: &[Egress]) -> Result<(Value, Vec<String>), Unfit> {
        let granted = granted.iter().copied().collect();
        let mut builder = Builder::new(&granted, Spelling::Either);
        let value = builder.build(&REQUEST, "", value)?;
        Ok((value, builder.left_out.into_iter().collect()))
    }

    #[test]
    fn a101_what_is_listed_leaves_and_the_rest_is_named() {
        let value = json!({ "model": "m", "blocks": [{ "text": "a", "x": 1 }, { "type": "group", "blocks": [{ "type": "text", "x": 2, "é\n": 3 }] }],
            "is_fast": true, "part": null, "kept": null, "b": 1 });
        let expected = json!({ "model": "m", "blocks": [{ "text": "a" }, { "type": "group", "blocks": [{ "type": "text" }] }],
            "isFast": true, "part": null, "kept": null });
        let left_out = ["b", "blocks[].blocks[].??", "blocks[].blocks[].x", "blocks[].x"].map(str::to_owned).to_vec();
        assert_eq!(build(value, &[]), Ok((expected, left_out)));
        let many = (0..99).map(|n| (format!("m{n}"), Value::Null)).collect();
        assert_eq!(build(Value::Object(many), &[]).unwrap().1.len(), LEFT_OUT_MAX);
    }

    #[test]
    fn a101_what_is_not_known_or_not_granted_does_not_leave() {
        let unknown = |kind: &str, at: &str| Unfit::Unknown { kind: kind.into(), at: at.into() };
        let egress = |what, at: &str| Unfit::Egress { what, at: at.into() };
        let shape = |at: &str| Unfit::Shape(at.into());
        for (value, unfit) in [
            (json!([]), shape("")),
            (json!({ "model": 1 }), shape("model")),
            (json!({ "isFast": true, "is_fast": false }), shape("isFast")),
            (json!({ "blocks": [1] }), shape("blocks[]")),
            (json!({ "blocks": [{ "type": 1 }] }), shape("blocks[].type")),
            (json!({ "blocks": [{ "type": "image" }] }), unknown("image", "blocks[]")),
            (json!({ "blocks": [{ "type": "search_2025031" }] }), unknown("search_2025031", "blocks[]")),
            (json!({ "blocks": [{ "type": "search_20250311", "most": 1 }] }), egress(Egress::VendorTools, "blocks[]")),
            (json!({ "part": { "image": 1 } }), unknown("image", "part")),
            (json!({ "kept": "here" }), egress(Egress::StoredState, "kept")),
        ] {
            assert_eq!(build(value.clone(), &[Egress::UrlSources]), Err(unfit), "{value}");
        }
        let granted = json!({ "kept": "here", "blocks": [{ "type": "search_20250311", "most": 1 }] });
        assert_eq!(build(granted.clone(), &[Egress::VendorTools, Egress::StoredState]), Ok((granted, vec![])));
    }
}
