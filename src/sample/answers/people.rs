//! Users, groups, invites and permissions.

use serde_json::{Map, Value, json};

use super::super::call::Call;
use super::super::fault::Fault;
use super::{array, query_texts, save, success, texts};

const INVITES: &str = "/invites";

/// `GET /groups/{userGroupId}/users`
pub(in crate::sample) fn members(call: &mut Call<'_>) -> Result<Value, Fault> {
    let emails = emails(call);
    let users = users_with(call, &emails);
    call.page("users", users)
}

/// `GET /groups/{userGroupId}/invites`: members who are no users yet.
pub(in crate::sample) fn group_invites(call: &mut Call<'_>) -> Result<Value, Fault> {
    let users = call.collection("/users").values();
    let mut emails = emails(call);
    emails.retain(|email| !users.iter().any(|user| user["email"] == email.as_str()));
    call.page("emails", emails.into_iter().map(Value::String).collect())
}

/// `POST /groups/{userGroupId}/users`
pub(in crate::sample) fn add_members(call: &mut Call<'_>) -> Result<Value, Fault> {
    let emails = texts(call, "emails")?;
    put_members(call, &emails)
}

/// `PUT /group/{userGroupId}/users`
pub(in crate::sample) fn replace_members(call: &mut Call<'_>) -> Result<Value, Fault> {
    let emails = texts(call, "emails")?;
    let path = members_path(call);
    call.workspace.collection(&path).shorten(0, call.space);
    put_members(call, &emails)
}

/// `DELETE /group/{userGroupId}/users?emails=`
pub(in crate::sample) fn remove_members(call: &mut Call<'_>) -> Result<Value, Fault> {
    let path = members_path(call);
    for email in query_texts(call, "emails")? {
        call.workspace.collection(&path).remove(&email, call.space);
    }
    put_members(call, &[]).map(|_| success())
}

/// `GET /users/{userId}/groups`
pub(in crate::sample) fn groups_of_user(call: &mut Call<'_>) -> Result<Value, Fault> {
    let user = call.found("/users", &call.param("userId"))?;
    let email = user.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut groups = call.collection("/groups").values();
    groups.retain(|group| {
        let path = format!("/groups/{}/members", group["id"].as_str().unwrap_or_default());
        call.workspace.collection(&path).object(&email).is_some()
    });
    let brief = groups.iter().map(|group| json!({"id": group["id"], "name": group["name"]})).collect();
    call.page("groups", brief)
}

/// `POST .../permissions` of a user or a group.
pub(in crate::sample) fn add_permissions(call: &mut Call<'_>) -> Result<Value, Fault> {
    permissions(call, true)
}

/// `PUT .../permissions` of a user or a group.
pub(in crate::sample) fn replace_permissions(call: &mut Call<'_>) -> Result<Value, Fault> {
    permissions(call, false)
}

/// `GET /invites`
pub(in crate::sample) fn invites(call: &mut Call<'_>) -> Result<Value, Fault> {
    let emails = call.collection(INVITES).ids().map(|email| Value::String(email.to_owned())).collect();
    call.page("invites", emails)
}

/// `POST /invites`
pub(in crate::sample) fn create_invites(call: &mut Call<'_>) -> Result<Value, Fault> {
    let mut emails = Vec::new();
    for invite in array(call, "invites")? {
        let Some(email) = invite["email"].as_str().filter(|email| email.contains('@')) else {
            return Err(Fault::input("invites.email", "must be an e-mail address"));
        };
        emails.push(email.to_owned());
    }
    for email in &emails {
        call.workspace.collection(INVITES).put(email, Map::new(), call.space)?;
    }
    call.audit("Created", emails.first().map_or("", String::as_str));
    Ok(json!({"emails": emails}))
}

/// `DELETE /invites?emails=`
pub(in crate::sample) fn delete_invites(call: &mut Call<'_>) -> Result<Value, Fault> {
    for email in query_texts(call, "emails")? {
        if !call.workspace.collection(INVITES).remove(&email, call.space) {
            return Err(Fault::plain(404, "not-found", format!("Invite for '{email}' not found.")));
        }
    }
    Ok(success())
}

/// `DELETE /users?userIds=`
pub(in crate::sample) fn delete_users(call: &mut Call<'_>) -> Result<Value, Fault> {
    let ids = query_texts(call, "userIds")?;
    for id in &ids {
        call.found("/users", id)?;
    }
    for id in &ids {
        call.workspace.collection("/users").remove(id, call.space);
        call.workspace.forget_below(&format!("/users/{id}"), call.space);
        call.audit("Deleted", id);
    }
    Ok(success())
}

fn members_path(call: &Call<'_>) -> String {
    format!("/groups/{}/members", call.param("userGroupId"))
}

fn emails(call: &mut Call<'_>) -> Vec<String> {
    let path = members_path(call);
    call.workspace.collection(&path).ids().map(str::to_owned).collect()
}

fn users_with(call: &mut Call<'_>, emails: &[String]) -> Vec<Value> {
    let users = call.collection("/users").values();
    let named = users.iter().filter(|user| emails.iter().any(|email| user["email"] == email.as_str()));
    named.map(|user| json!({"id": user["id"], "name": user["name"], "email": user["email"]})).collect()
}

fn put_members(call: &mut Call<'_>, emails: &[String]) -> Result<Value, Fault> {
    let (id, path) = (call.param("userGroupId"), members_path(call));
    let mut group = call.found("/groups", &id)?;
    for email in emails {
        call.workspace.collection(&path).put(email, Map::new(), call.space)?;
    }
    group.insert("memberCount".to_owned(), call.workspace.collection(&path).ids().count().into());
    save(call, "/groups", &id, group.clone())?;
    call.audit("Modified", &id);
    Ok(json!({"userGroup": group}))
}

fn permissions(call: &mut Call<'_>, keep: bool) -> Result<Value, Fault> {
    let (home, id) = match call.params.first() {
        Some((name, id)) if *name == "userId" => ("/users", id.clone()),
        Some((_, id)) => ("/groups", id.clone()),
        None => return Err(Fault::plain(404, "not-found", "the path names no user and no group")),
    };
    let mut holder = call.found(home, &id)?;
    let mut all = match holder.get("permissions") {
        Some(Value::Array(permissions)) if keep => permissions.clone(),
        _ => Vec::new(),
    };
    for mut permission in array(call, "permissions")? {
        let Some(role) = permission["roleId"].as_str().map(str::to_owned) else {
            return Err(Fault::input("permissions.roleId", "must be a string"));
        };
        let name = call.collection("/roles").object(&role).and_then(|role| role.get("name").cloned());
        permission["roleName"] = name.unwrap_or_else(|| "Custom role".into());
        if !permission["resources"].is_array() {
            permission["resources"] = json!([]);
        }
        all.push(permission);
    }
    holder.insert("permissions".to_owned(), all.clone().into());
    save(call, home, &id, holder)?;
    call.audit("Policy Updated", &id);
    Ok(json!({"permissions": all}))
}
