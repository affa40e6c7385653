//! What the sample API remembers: objects of collections, per workspace, in memory.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::fault::Fault;

/// Most workspaces.
const WORKSPACES: usize = 1_000;
/// Most objects of one collection.
const OBJECTS: usize = 2_000;
/// Most bytes of JSON in one object.
const OBJECT_BYTES: usize = 256 * 1024;
/// Most bytes of JSON in all.
const BYTES: usize = 128 * 1024 * 1024;

/// Everything that one sample API holds.
#[derive(Debug)]
pub(super) struct Store {
    workspaces: HashMap<String, Workspace>,
    /// Gives out ids.
    pub ids: Ids,
    /// Bytes held.
    pub space: Space,
}

/// How much is held.
#[derive(Debug, Default)]
pub(super) struct Space {
    used: usize,
}

/// Ids of 22 base62 characters, as Segment's look; no two of one generator are the same.
#[derive(Debug)]
pub(super) struct Ids {
    seed: u64,
    given: u64,
}

/// One workspace's objects.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    collections: BTreeMap<String, Collection>,
}

/// Objects in the order of their making.
#[derive(Debug, Default)]
pub(super) struct Collection {
    objects: Vec<(String, Map<String, Value>, usize)>,
    /// How many there have ever been, for their numbers.
    pub made: usize,
}

impl Store {
    /// An empty store.
    pub(super) fn new(seed: u64) -> Self {
        Self { workspaces: HashMap::new(), ids: Ids { seed, given: 0 }, space: Space::default() }
    }

    /// A workspace, made when it is first asked for, with what is needed to fill it.
    pub(super) fn workspace(&mut self, name: &str) -> Result<(&mut Workspace, &mut Ids, &mut Space), Fault> {
        if !self.workspaces.contains_key(name) && self.workspaces.len() >= WORKSPACES {
            return Err(Fault::plain(503, "unavailable", "the sample API holds at most 1,000 workspaces"));
        }
        let workspace = self.workspaces.entry(name.to_owned()).or_default();
        Ok((workspace, &mut self.ids, &mut self.space))
    }
}

impl Ids {
    /// A fresh id.
    pub(super) fn fresh(&mut self) -> String {
        self.given += 1;
        let mut id = base62(split_mix(self.seed.wrapping_add(self.given)));
        id.push_str(&base62(split_mix(self.seed.rotate_left(32) ^ self.given)));
        id
    }
}

impl Workspace {
    /// Whether the collection has been made.
    pub(super) fn has(&self, path: &str) -> bool {
        self.collections.contains_key(path)
    }

    /// The collection at a concrete path, made empty if need be.
    pub(super) fn collection(&mut self, path: &str) -> &mut Collection {
        self.collections.entry(path.to_owned()).or_default()
    }

    /// Forgets every collection below a path: what belongs to a deleted object goes with it.
    pub(super) fn forget_below(&mut self, path: &str, space: &mut Space) {
        let below = format!("{path}/");
        self.collections.retain(|key, collection| {
            let keep = !key.starts_with(&below);
            if !keep {
                space.used -= collection.objects.iter().map(|(.., size)| size).sum::<usize>();
            }
            keep
        });
    }
}

impl Collection {
    /// Every object.
    pub(super) fn values(&self) -> Vec<Value> {
        self.objects.iter().map(|(_, object, _)| Value::Object(object.clone())).collect()
    }

    /// Every id.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().map(|(id, ..)| id.as_str())
    }

    /// One object.
    pub(super) fn object(&self, id: &str) -> Option<&Map<String, Value>> {
        self.objects.iter().find(|(key, ..)| key == id).map(|(_, object, _)| object)
    }

    /// Adds an object, or puts it in the place of the one with this id.
    pub(super) fn put(
        &mut self,
        id: &str,
        object: Map<String, Value>,
        space: &mut Space,
    ) -> Result<(), Fault> {
        let size = serde_json::to_vec(&object).map_or(OBJECT_BYTES, |bytes| bytes.len());
        let place = self.objects.iter().position(|(key, ..)| key == id);
        let freed = place.map_or(0, |at| self.objects[at].2);
        if size > OBJECT_BYTES {
            return Err(Fault::plain(
                413,
                "bad-request",
                "the sample API holds objects of at most 262,144 bytes",
            ));
        }
        if place.is_none() && self.objects.len() >= OBJECTS || space.used - freed + size > BYTES {
            return Err(Fault::plain(
                422,
                "input-validation",
                "the sample API is full: at most 2,000 objects of a kind and 128 MiB in all; delete some",
            ));
        }
        space.used = space.used - freed + size;
        if let Some(at) = place {
            self.objects[at] = (id.to_owned(), object, size);
        } else {
            self.made += 1;
            self.objects.push((id.to_owned(), object, size));
        }
        Ok(())
    }

    /// Removes an object; true when there was one.
    pub(super) fn remove(&mut self, id: &str, space: &mut Space) -> bool {
        let Some(at) = self.objects.iter().position(|(key, ..)| key == id) else { return false };
        let (.., size) = self.objects.remove(at);
        space.used -= size;
        true
    }

    /// Keeps the newest `most` objects.
    pub(super) fn shorten(&mut self, most: usize, space: &mut Space) {
        let surplus = self.objects.len().saturating_sub(most);
        space.used -= self.objects.drain(..surplus).map(|(.., size)| size).sum::<usize>();
    }
}

/// One step of `SplitMix64` (Steele, Lea and Flood 2014); a bijection, so inputs that differ stay different.
fn split_mix(input: u64) -> u64 {
    let mut z = input.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn base62(mut number: u64) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..11)
        .map(|_| {
            let digit = DIGITS[(number % 62) as usize];
            number /= 62;
            char::from(digit)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(text: &str) -> Map<String, Value> {
        json!({"name": text}).as_object().cloned().unwrap()
    }

    #[test]
    fn ids_never_repeat_and_are_22_characters() {
        let mut ids = Store::new(7).ids;
        let many: std::collections::HashSet<String> = (0..5_000).map(|_| ids.fresh()).collect();
        assert_eq!(many.len(), 5_000);
        assert!(many.iter().all(|id| id.len() == 22));
    }

    #[test]
    fn what_is_removed_frees_its_space() {
        let mut store = Store::new(1);
        let (workspace, _, space) = store.workspace("w").unwrap();
        let collection = workspace.collection("/sources");
        collection.put("a", object("x"), space).unwrap();
        collection.put("a", object("longer"), space).unwrap();
        workspace.collection("/sources/a/labels").put("b", object("y"), space).unwrap();
        workspace.forget_below("/sources/a", space);
        assert!(workspace.collection("/sources").remove("a", space));
        assert!(!workspace.collection("/sources").remove("a", space));
        assert_eq!(space.used, 0);
    }

    #[test]
    fn too_many_and_too_large_objects_are_refused() {
        let mut store = Store::new(1);
        let (workspace, ids, space) = store.workspace("w").unwrap();
        let collection = workspace.collection("/sources");
        assert_eq!(collection.put("a", object(&"x".repeat(OBJECT_BYTES)), space).unwrap_err().status, 413);
        for _ in 0..OBJECTS {
            collection.put(&ids.fresh(), object("x"), space).unwrap();
        }
        assert_eq!(collection.put("one more", object("x"), space).unwrap_err().status, 422);
    }
}
