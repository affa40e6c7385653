//! One call of one operation: its path parameters, query and body, and the workspace that it works on.

use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::objects::{Kind, TEMPLATES, fill};
use super::operations::Operation;
use super::query::Query;
use super::store::{Collection, Ids, Space, Workspace};

/// Which collection a parameter's object is in, where the path itself does not say it.
const HOMES: [(&str, &str); 9] = [
    ("sourceId", "/sources"),
    ("destinationId", "/destinations"),
    ("warehouseId", "/warehouses"),
    ("userGroupId", "/groups"),
    ("userId", "/users"),
    ("functionId", "/functions"),
    ("trackingPlanId", "/tracking-plans"),
    ("modelId", "/reverse-etl-models"),
    ("credentialId", "/credentials"),
];
/// Audit events that are kept.
const EVENTS: usize = 500;

/// Path parameters by name, in order, decoded.
pub(super) type Params = Vec<(&'static str, String)>;

/// An operation's arguments.
pub(super) struct Call<'a> {
    /// The operation.
    pub operation: &'static Operation,
    /// Path parameters.
    pub params: Params,
    /// The query.
    pub query: Query,
    /// The body; an empty object when there was none.
    pub body: Map<String, Value>,
    /// The workspace's name.
    pub name: &'a str,
    /// Its objects.
    pub workspace: &'a mut Workspace,
    /// Fresh ids.
    pub ids: &'a mut Ids,
    /// Bytes held.
    pub space: &'a mut Space,
    /// The time of the call, as the API writes it.
    pub now: String,
}

impl Call<'_> {
    /// A path parameter.
    pub(super) fn param(&self, name: &str) -> String {
        self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The last path parameter.
    pub(super) fn last_param(&self) -> String {
        self.params.last().map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// The concrete path of a collection's template, its parameters filled in order.
    pub(super) fn concrete(&self, template: &str) -> String {
        let mut params = self.params.iter();
        let parts = template.split('/').map(|part| {
            if part.starts_with('{') {
                params.next().map_or_else(String::new, |(_, value)| value.replace('/', "%2F"))
            } else {
                part.to_owned()
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// The collection of a template, with its first objects made if it is new.
    pub(super) fn collection(&mut self, template: &str) -> &mut Collection {
        let path = self.concrete(template);
        if !self.workspace.has(&path) {
            let kind = kind(template);
            self.workspace.collection(&path);
            for number in 0..kind.seed.max(kind.ids.len()) {
                let id = kind.ids.get(number).cloned().unwrap_or_else(|| self.ids.fresh());
                let object = self.object(template, &id, Map::new(), number + 1);
                // A full sample begins its later collections empty.
                let _ = self.workspace.collection(&path).put(&id, object, self.space);
            }
        }
        self.workspace.collection(&path)
    }

    /// A new object of a template: its defaults under `body`.
    pub(super) fn object(
        &mut self,
        template: &str,
        id: &str,
        body: Map<String, Value>,
        number: usize,
    ) -> Map<String, Value> {
        let kind = kind(template);
        let wants_source = kind.fields.get("sourceId").is_some_and(|value| value == "{sourceId}");
        let first_source = (wants_source && !self.has_param("sourceId"))
            .then(|| self.collection("/sources").ids().next().map(str::to_owned))
            .flatten();
        let catalog = kind.catalog.as_deref().map(|catalog| self.catalog_entry(catalog, &body));
        let mut lookup = |name: &str| match name {
            "id" => Some(id.to_owned()),
            "n" => Some(number.to_string()),
            "new" => Some(self.ids.fresh()),
            "now" => Some(self.now.clone()),
            "workspace" => Some(self.name.to_owned()),
            "sourceId" if first_source.is_some() => first_source.clone(),
            _ => self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()),
        };
        let mut object = Map::new();
        object.insert("id".to_owned(), id.into());
        for (key, value) in &kind.fields {
            object.insert(key.clone(), fill(value, &mut lookup));
        }
        object.extend(body);
        if let Some(metadata) = catalog {
            object.remove("metadataId");
            object.insert("metadata".to_owned(), metadata);
        }
        object.insert("id".to_owned(), id.into());
        object
    }

    /// A fixed answer with this call's names filled in.
    pub(super) fn fixed(&mut self, answer: &Value) -> Value {
        fill(answer, &mut |name| match name {
            "new" => Some(self.ids.fresh()),
            "now" => Some(self.now.clone()),
            "workspace" => Some(self.name.to_owned()),
            _ => self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()),
        })
    }

    /// One page of values under `key`, with its `pagination`.
    pub(super) fn page(&self, key: &str, values: Vec<Value>) -> Result<Value, Fault> {
        let (entries, pagination) = self.query.page("pagination")?.cut(values);
        Ok(json!({key: entries, "pagination": pagination}))
    }

    /// One object of a collection, or 404.
    pub(super) fn found(&mut self, template: &str, id: &str) -> Result<Map<String, Value>, Fault> {
        let label = &kind(template).label;
        self.collection(template).object(id).cloned().ok_or_else(|| Fault::missing(label, id))
    }

    /// Checks that whatever the path names exists, except what the operation itself looks up: its last
    /// parameter where that stands in a collection of its own.
    pub(super) fn check_parents(&mut self) -> Result<(), Fault> {
        let template = self.operation.path;
        let mut seen = 0;
        let mut prefix = String::new();
        for part in template.split('/').skip(1) {
            if part.starts_with('{') {
                let (name, id) = self.params[seen].clone();
                let last = seen + 1 == self.params.len() && template.ends_with(part);
                seen += 1;
                if let Some(home) = known(&prefix).or_else(|| home(name))
                    && !(last && known(&prefix).is_some())
                {
                    self.found(home, &id)?;
                }
            }
            prefix = format!("{prefix}/{part}");
        }
        Ok(())
    }

    /// A text field of the body, or 422.
    pub(super) fn text(&self, field: &str) -> Result<String, Fault> {
        match self.body.get(field) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(_) => Err(Fault::input(field, "must be a non-empty string")),
            None => Err(Fault::input(field, "is required")),
        }
    }

    /// Checks that the body has what a new object needs.
    pub(super) fn check_required(&self, template: &str) -> Result<(), Fault> {
        match kind(template).required.iter().find(|field| !self.body.contains_key(*field)) {
            Some(field) => Err(Fault::input(field, "is required")),
            None => Ok(()),
        }
    }

    /// Notes a change in the workspace's audit events.
    pub(super) fn audit(&mut self, what: &str, id: &str) {
        let label = self.operation.label();
        let body = json!({
            "type": format!("{label} {what}"), "resourceId": id, "resourceName": id,
            "resourceType": label.to_lowercase().replace(' ', "_"),
        });
        let event = self.ids.fresh();
        let number = self.collection("/audit-events").made + 1;
        let body = body.as_object().cloned().unwrap_or_default();
        let object = self.object("/audit-events", &event, body, number);
        let events = self.workspace.collection("/audit-events");
        // An audit event that finds no room is left out: the change itself has been made.
        let _ = events.put(&event, object, self.space);
        events.shorten(EVENTS, self.space);
    }

    fn has_param(&self, name: &str) -> bool {
        self.params.iter().any(|(key, _)| *key == name)
    }

    /// The catalogue entry that `metadataId` names; an unknown one is made up, a missing one is the first.
    fn catalog_entry(&mut self, catalog: &str, body: &Map<String, Value>) -> Value {
        let wanted = body.get("metadataId").and_then(Value::as_str).map(str::to_owned);
        let entries = self.collection(catalog);
        let first = entries.ids().next().map(str::to_owned);
        let Some(id) = wanted.or(first) else { return json!({}) };
        match entries.object(&id) {
            Some(entry) => Value::Object(entry.clone()),
            None => Value::Object(self.object(catalog, &id, Map::new(), 0)),
        }
    }
}

/// The templates of a collection's objects; an unknown path has none.
pub(super) fn kind(template: &str) -> &'static Kind {
    static NONE: std::sync::LazyLock<Kind> = std::sync::LazyLock::new(Kind::default);
    TEMPLATES.collections.get(template).unwrap_or(&NONE)
}

/// The collection at a path template, whatever its parameters are called.
pub(super) fn known(path: &str) -> Option<&'static str> {
    let same = |key: &str| {
        key.split('/').count() == path.split('/').count()
            && key
                .split('/')
                .zip(path.split('/'))
                .all(|(a, b)| a == b || (a.starts_with('{') && b.starts_with('{')))
    };
    TEMPLATES.collections.keys().map(String::as_str).find(|key| same(key))
}

fn home(param: &str) -> Option<&'static str> {
    HOMES.iter().find(|(name, _)| *name == param).map(|(_, home)| *home)
}
