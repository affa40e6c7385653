//! What every store does with imported tokens.

use super::*;

proofs! { prove_import:
    importing_is_idempotent,
    a_refused_change_leaves_nothing,
}

pub(crate) fn importing_is_idempotent(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let batch = [imported("a", "ws", 1), imported("b", "ws", 2), imported("c", "ws", 1)];
    let results = store.import(act(&clock), &batch).unwrap();
    assert_eq!(results, [Imported::Added, Imported::Added, Imported::Known]);
    store.revoke_token(act(&clock), "a", "leaked").unwrap();
    let head = store.head().unwrap();
    assert_eq!(store.import(act(&clock), &batch).unwrap(), vec![Imported::Known; 3]);
    assert_eq!(store.head().unwrap(), head);
    assert!(
        store.token("a").unwrap().unwrap().revoked_at_unix_seconds.is_some(),
        "an import revived a token"
    );
    let other = ImportedToken { region: Some("us".into()), ..imported("d", "ws", 4) };
    let elsewhere =
        ImportedToken { region: None, default_region: Some("us".into()), ..imported("f", "ws", 6) };
    assert_eq!(store.import(act(&clock), &[elsewhere]).unwrap(), [Imported::Added]);
    let nowhere = ImportedToken { region: None, ..imported("e", "new", 5) };
    assert_eq!(
        store.import(act(&clock), &[imported("x", "other", 1), other, nowhere]).unwrap(),
        [Imported::ElsewhereIn("ws".into()), Imported::OtherRegion("eu".into()), Imported::NoWorkspace]
    );
    assert_eq!(store.workspace("ws").unwrap().unwrap().plan, Plan::Business);
}

pub(crate) fn a_refused_change_leaves_nothing(fixture: &dyn Fixture) {
    let (store, clock) = (fixture.open(), clock());
    let same_id = [imported("a", "ws", 1), imported("a", "ws", 2)];
    assert!(store.import(act(&clock), &same_id).is_err());
    assert_eq!(store.head().unwrap(), (0, [0; 32]));
    assert!(store.workspace("ws").unwrap().is_none());
    store.create_workspace(act(&clock), &workspace("ws")).unwrap();
    assert_eq!(store.head().unwrap().0, 1);
}
