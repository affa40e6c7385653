//! The API's operations as the sample serves them: 201 rows of Segment's Public API 73.2.0.

use super::answers::{labels, links, people, reads, schema, writes};
use super::call::{Call, Params, kind, known};
use super::fault::Fault;
use crate::domain::Method::{self, Delete as Del, Get, Patch, Post, Put};
use Shape::{Create, Custom, Delete, Echo, Fixed, List, Read, Update, UpdateQuietly};

/// An operation with a behaviour of its own: the `data` of its answer.
pub(super) type Behaviour = fn(&mut Call<'_>) -> Result<serde_json::Value, Fault>;

/// How an operation works; texts are the keys of the answer's `data`.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A page of the collection at the operation's path.
    List(&'static str),
    /// A new object in it.
    Create(&'static str),
    /// The object that the last parameter names.
    Read(&'static str),
    /// A change of it: the body's fields replace its own.
    Update(&'static str),
    /// The same, answered with a status only.
    UpdateQuietly,
    /// Its end.
    Delete,
    /// The answer of `objects.json` for this operation.
    Fixed,
    /// The echo endpoint, which is served from the request itself.
    Echo,
    /// Anything else.
    Custom(Behaviour),
}

/// One row of the table.
pub(super) struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path template.
    pub path: &'static str,
    /// Its name in the SDKs.
    pub name: &'static str,
    /// The status of its success.
    pub status: u16,
    /// How it works.
    pub shape: Shape,
}

impl Operation {
    /// The template of the collection that it works on.
    pub(super) fn collection(&self) -> &'static str {
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        known(self.path).or_else(|| known(parent)).unwrap_or(self.path)
    }

    /// What its objects are called.
    pub(super) fn label(&self) -> &'static str {
        match kind(self.collection()).label.as_str() {
            "" => "Workspace",
            label => label,
        }
    }

    /// The parameters that a path gives, raw segments in; `None` when it is another path.
    pub(super) fn matches(&self, segments: &[&str]) -> Option<Params> {
        let mut params = Vec::new();
        let mut parts = self.path.split('/').skip(1);
        for segment in segments {
            let part = parts.next()?;
            let decoded = super::query::decode(segment, false);
            match part.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !segment.is_empty() => params.push((name, decoded)),
                None if part == decoded => {}
                Some(_) | None => return None,
            }
        }
        parts.next().is_none().then_some(params)
    }
}

const fn row(method: Method, path: &'static str, name: &'static str, status: u16, shape: Shape) -> Operation {
    Operation { method, path, name, status, shape }
}

/// Every operation, sorted by path then method.
#[rustfmt::skip]
pub(super) static OPERATIONS: [Operation; 201] = [
    row(Get, "/", "getWorkspace", 200, Custom(reads::workspace)),
    row(Get, "/audit-events", "listAuditEvents", 200, List("events")),
    row(Get, "/catalog/destinations", "getDestinationsCatalog", 200, List("destinationsCatalog")),
    row(Get, "/catalog/destinations/{destinationMetadataId}", "getDestinationMetadata", 200, Read("destinationMetadata")),
    row(Get, "/catalog/sources", "getSourcesCatalog", 200, List("sourcesCatalog")),
    row(Get, "/catalog/sources/{sourceMetadataId}", "getSourceMetadata", 200, Read("sourceMetadata")),
    row(Get, "/catalog/warehouses", "getWarehousesCatalog", 200, List("warehousesCatalog")),
    row(Get, "/catalog/warehouses/{warehouseMetadataId}", "getWarehouseMetadata", 200, Read("warehouseMetadata")),
    row(Get, "/credentials", "listCredentials", 200, List("credentials")),
    row(Post, "/credentials", "createCredential", 201, Create("credential")),
    row(Del, "/credentials/{credentialId}", "deleteCredential", 200, Delete),
    row(Get, "/credentials/{credentialId}", "getCredential", 200, Read("credential")),
    row(Patch, "/credentials/{credentialId}", "updateCredential", 200, Update("credential")),
    row(Get, "/credentials/{credentialId}/consumers", "listCredentialConsumers", 200, Custom(reads::credential_consumers)),
    row(Post, "/customer-insights/download", "createDownload", 200, Fixed),
    row(Post, "/dbt-model-syncs/trigger", "createDbtModelSyncTrigger", 200, Fixed),
    row(Get, "/delivery-overview/failed-delivery", "getEgressFailedMetricsFromDeliveryOverview", 200, Fixed),
    row(Get, "/delivery-overview/failed-on-ingest", "getIngressFailedMetricsFromDeliveryOverview", 200, Fixed),
    row(Get, "/delivery-overview/filtered-at-destination", "getFilteredAtDestinationMetricsFromDeliveryOverview", 200, Fixed),
    row(Get, "/delivery-overview/filtered-at-source", "getFilteredAtSourceMetricsFromDeliveryOverview", 200, Fixed),
    row(Get, "/delivery-overview/successful-delivery", "getEgressSuccessMetricsFromDeliveryOverview", 200, Fixed),
    row(Get, "/delivery-overview/successfully-received", "getIngressSuccessMetricsFromDeliveryOverview", 200, Fixed),
    row(Post, "/destination/filters/preview", "previewDestinationFilter", 200, Custom(reads::filter_preview)),
    row(Get, "/destination/{destinationId}/filters", "listFiltersFromDestination", 200, List("filters")),
    row(Post, "/destination/{destinationId}/filters", "createFilterForDestination", 200, Create("filter")),
    row(Del, "/destination/{destinationId}/filters/{filterId}", "removeFilterFromDestination", 200, Delete),
    row(Get, "/destination/{destinationId}/filters/{filterId}", "getFilterInDestination", 200, Read("filter")),
    row(Patch, "/destination/{destinationId}/filters/{filterId}", "updateFilterForDestination", 200, Update("filter")),
    row(Get, "/destinations", "listDestinations", 200, List("destinations")),
    row(Post, "/destinations", "createDestination", 200, Create("destination")),
    row(Del, "/destinations/{destinationId}", "deleteDestination", 200, Delete),
    row(Get, "/destinations/{destinationId}", "getDestination", 200, Read("destination")),
    row(Patch, "/destinations/{destinationId}", "updateDestination", 200, Update("destination")),
    row(Get, "/destinations/{destinationId}/delivery-metrics", "listDeliveryMetricsSummaryFromDestination", 200, Custom(reads::delivery_metrics)),
    row(Get, "/destinations/{destinationId}/subscriptions", "listSubscriptionsFromDestination", 200, List("subscriptions")),
    row(Post, "/destinations/{destinationId}/subscriptions", "createDestinationSubscription", 200, Create("destinationSubscription")),
    row(Del, "/destinations/{destinationId}/subscriptions/{id}", "removeSubscriptionFromDestination", 200, Delete),
    row(Get, "/destinations/{destinationId}/subscriptions/{id}", "getSubscriptionFromDestination", 200, Read("subscription")),
    row(Patch, "/destinations/{destinationId}/subscriptions/{id}", "updateSubscriptionForDestination", 200, Update("subscription")),
    row(Get, "/echo", "echo", 200, Echo),
    row(Get, "/events/volume", "getEventsVolumeFromWorkspace", 200, Fixed),
    row(Get, "/filters", "listFiltersForSpace", 200, List("filters")),
    row(Post, "/filters", "createFilterForSpace", 200, Create("filter")),
    row(Del, "/filters/{id}", "deleteFilterById", 200, Custom(writes::delete_space_filter)),
    row(Get, "/filters/{id}", "getFilterById", 200, Read("filter")),
    row(Patch, "/filters/{id}", "updateFilterById", 200, Update("filter")),
    row(Get, "/functions", "listFunctions", 200, List("functions")),
    row(Post, "/functions", "createFunction", 200, Create("function")),
    row(Del, "/functions/{functionId}", "deleteFunction", 200, Delete),
    row(Get, "/functions/{functionId}", "getFunction", 200, Read("function")),
    row(Patch, "/functions/{functionId}", "updateFunction", 200, Update("function")),
    row(Post, "/functions/{functionId}/deploy", "createFunctionDeployment", 200, Fixed),
    row(Get, "/functions/{functionId}/versions", "listFunctionVersions", 200, List("versions")),
    row(Post, "/functions/{functionId}/versions", "restoreFunctionVersion", 200, Custom(writes::restore_version)),
    row(Get, "/functions/{functionId}/versions/{versionId}", "getFunctionVersion", 200, Read("version")),
    row(Del, "/group/{userGroupId}/users", "removeUsersFromUserGroup", 200, Custom(people::remove_members)),
    row(Put, "/group/{userGroupId}/users", "replaceUsersInUserGroup", 200, Custom(people::replace_members)),
    row(Get, "/groups", "listUserGroups", 200, List("userGroups")),
    row(Post, "/groups", "createUserGroup", 200, Create("userGroup")),
    row(Del, "/groups/{userGroupId}", "deleteUserGroup", 200, Delete),
    row(Get, "/groups/{userGroupId}", "getUserGroup", 200, Read("userGroup")),
    row(Patch, "/groups/{userGroupId}", "updateUserGroup", 200, Update("userGroup")),
    row(Get, "/groups/{userGroupId}/invites", "listInvitesFromUserGroup", 200, Custom(people::group_invites)),
    row(Post, "/groups/{userGroupId}/permissions", "addPermissionsToUserGroup", 200, Custom(people::add_permissions)),
    row(Put, "/groups/{userGroupId}/permissions", "replacePermissionsForUserGroup", 200, Custom(people::replace_permissions)),
    row(Get, "/groups/{userGroupId}/users", "listUsersFromUserGroup", 200, Custom(people::members)),
    row(Post, "/groups/{userGroupId}/users", "addUsersToUserGroup", 200, Custom(people::add_members)),
    row(Get, "/insert-function-instances", "listInsertFunctionInstances", 200, List("instances")),
    row(Post, "/insert-function-instances", "createInsertFunctionInstance", 200, Create("insertFunctionInstance")),
    row(Del, "/insert-function-instances/{instanceId}", "deleteInsertFunctionInstance", 200, Delete),
    row(Get, "/insert-function-instances/{instanceId}", "getInsertFunctionInstance", 200, Read("insertFunctionInstance")),
    row(Patch, "/insert-function-instances/{instanceId}", "updateInsertFunctionInstance", 200, Update("insertFunctionInstance")),
    row(Del, "/invites", "deleteInvites", 200, Custom(people::delete_invites)),
    row(Get, "/invites", "listInvites", 200, Custom(people::invites)),
    row(Post, "/invites", "createInvites", 201, Custom(people::create_invites)),
    row(Get, "/labels", "listLabels", 200, Custom(labels::list)),
    row(Post, "/labels", "createLabel", 201, Custom(labels::create)),
    row(Del, "/labels/{key}/{value}", "deleteLabel", 200, Custom(labels::delete)),
    row(Get, "/regulations", "listWorkspaceRegulations", 200, List("regulations")),
    row(Post, "/regulations", "createWorkspaceRegulation", 200, Custom(writes::regulate)),
    row(Post, "/regulations/cloudsources/{sourceId}", "createCloudSourceRegulation", 200, Custom(writes::regulate)),
    row(Get, "/regulations/sources/{sourceId}", "listRegulationsFromSource", 200, Custom(reads::regulations_of_source)),
    row(Post, "/regulations/sources/{sourceId}", "createSourceRegulation", 200, Custom(writes::regulate)),
    row(Get, "/regulations/{regulateId}", "getRegulation", 200, Read("regulation")),
    row(Get, "/reverse-etl-models", "listReverseEtlModels", 200, List("models")),
    row(Post, "/reverse-etl-models", "createReverseEtlModel", 201, Create("reverseEtlModel")),
    row(Del, "/reverse-etl-models/{modelId}", "deleteReverseEtlModel", 200, Delete),
    row(Get, "/reverse-etl-models/{modelId}", "getReverseEtlModel", 200, Read("reverseEtlModel")),
    row(Patch, "/reverse-etl-models/{modelId}", "updateReverseEtlModel", 200, Update("reverseEtlModel")),
    row(Get, "/reverse-etl-models/{modelId}/subscriptionId/{subscriptionId}/syncs", "listReverseETLSyncStatusesFromModelAndSubscriptionId", 200, List("syncStatuses")),
    row(Get, "/reverse-etl-models/{modelId}/syncs/{syncId}", "getReverseETLSyncStatus", 200, Fixed),
    row(Post, "/reverse-etl-models/{modelId}/syncs/{syncId}/cancel", "cancelReverseETLSyncForModel", 200, Fixed),
    row(Post, "/reverse-etl-syncs", "createReverseETLManualSync", 200, Fixed),
    row(Get, "/roles", "listRoles", 200, List("roles")),
    row(Get, "/sources", "listSources", 200, List("sources")),
    row(Post, "/sources", "createSource", 201, Create("source")),
    row(Del, "/sources/{sourceId}", "deleteSource", 200, Delete),
    row(Get, "/sources/{sourceId}", "getSource", 200, Read("source")),
    row(Patch, "/sources/{sourceId}", "updateSource", 200, Update("source")),
    row(Get, "/sources/{sourceId}/connected-destinations", "listConnectedDestinationsFromSource", 200, Custom(links::destinations_of_source)),
    row(Get, "/sources/{sourceId}/connected-warehouses", "listConnectedWarehousesFromSource", 200, Custom(links::warehouses_of_source)),
    row(Post, "/sources/{sourceId}/labels", "addLabelsToSource", 200, Custom(labels::add_to_source)),
    row(Put, "/sources/{sourceId}/labels", "replaceLabelsInSource", 200, Custom(labels::replace_in_source)),
    row(Post, "/sources/{sourceId}/live-plugins/create", "createLivePlugin", 200, Custom(writes::create_live_plugin)),
    row(Del, "/sources/{sourceId}/live-plugins/delete-code", "deleteLivePluginCode", 200, Custom(writes::delete_live_plugin)),
    row(Get, "/sources/{sourceId}/live-plugins/latest", "getLatestFromLivePlugins", 200, Custom(reads::live_plugin)),
    row(Get, "/sources/{sourceId}/settings", "listSchemaSettingsInSource", 200, Custom(schema::settings)),
    row(Patch, "/sources/{sourceId}/settings", "updateSchemaSettingsInSource", 200, Custom(schema::update_settings)),
    row(Post, "/sources/{sourceId}/writekey", "createWriteKeyForSource", 200, Custom(writes::create_write_key)),
    row(Del, "/sources/{sourceId}/writekey/{writeKey}", "removeWriteKeyFromSource", 200, Custom(writes::remove_write_key)),
    row(Get, "/spaces", "listSpaces", 200, List("spaces")),
    row(Get, "/spaces/{spaceId}", "getSpace", 200, Read("space")),
    row(Get, "/spaces/{spaceId}/audienceType/{audienceType}/supported-destinations", "listSupportedDestinationsFromAudience", 200, Fixed),
    row(Get, "/spaces/{spaceId}/audiences", "listAudiences", 200, List("audiences")),
    row(Post, "/spaces/{spaceId}/audiences", "createAudience", 200, Create("audience")),
    row(Post, "/spaces/{spaceId}/audiences/previews", "createAudiencePreview", 200, Create("audiencePreview")),
    row(Get, "/spaces/{spaceId}/audiences/previews/{id}", "getAudiencePreview", 200, Read("audiencePreview")),
    row(Get, "/spaces/{spaceId}/audiences/{audienceId}/activations", "listActivationsFromAudience", 200, List("activations")),
    row(Del, "/spaces/{spaceId}/audiences/{audienceId}/activations/{id}", "removeActivationFromAudience", 200, Delete),
    row(Get, "/spaces/{spaceId}/audiences/{audienceId}/activations/{id}", "getActivationFromAudience", 200, Read("activation")),
    row(Patch, "/spaces/{spaceId}/audiences/{audienceId}/activations/{id}", "updateActivationForAudience", 200, Update("activation")),
    row(Get, "/spaces/{spaceId}/audiences/{audienceId}/destination-connections", "listDestinationsFromAudience", 200, List("connections")),
    row(Post, "/spaces/{spaceId}/audiences/{audienceId}/destination-connections", "addDestinationToAudience", 200, Create("connection")),
    row(Post, "/spaces/{spaceId}/audiences/{audienceId}/destination-connections/{connectionId}/activations", "addActivationToAudience", 200, Custom(writes::add_activation)),
    row(Del, "/spaces/{spaceId}/audiences/{audienceId}/destination-connections/{destinationId}", "removeDestinationFromAudience", 200, Delete),
    row(Patch, "/spaces/{spaceId}/audiences/{audienceId}/destination-connections/{destinationId}", "updateDestinationForAudience", 200, Update("destination")),
    row(Post, "/spaces/{spaceId}/audiences/{audienceId}/runs", "forceExecuteAudienceRun", 200, Fixed),
    row(Del, "/spaces/{spaceId}/audiences/{id}", "removeAudienceFromSpace", 200, Delete),
    row(Get, "/spaces/{spaceId}/audiences/{id}", "getAudience", 200, Read("audience")),
    row(Patch, "/spaces/{spaceId}/audiences/{id}", "updateAudienceForSpace", 200, Update("audience")),
    row(Get, "/spaces/{spaceId}/audiences/{id}/audience-references", "listAudienceConsumersFromSpaceAndAudience", 200, Custom(reads::audience_consumers)),
    row(Get, "/spaces/{spaceId}/audiences/{id}/schedules", "listAudienceSchedulesFromSpaceAndAudience", 200, List("audienceSchedules")),
    row(Post, "/spaces/{spaceId}/audiences/{id}/schedules", "addAudienceScheduleToAudience", 200, Create("audienceSchedule")),
    row(Del, "/spaces/{spaceId}/audiences/{id}/schedules/{scheduleId}", "removeAudienceScheduleFromAudience", 200, Delete),
    row(Get, "/spaces/{spaceId}/audiences/{id}/schedules/{scheduleId}", "getAudienceScheduleFromSpaceAndAudience", 200, Read("audienceSchedule")),
    row(Patch, "/spaces/{spaceId}/audiences/{id}/schedules/{scheduleId}", "updateAudienceScheduleForAudience", 200, Update("audienceSchedule")),
    row(Get, "/spaces/{spaceId}/computed-traits", "listComputedTraits", 200, List("computedTraits")),
    row(Post, "/spaces/{spaceId}/computed-traits", "createComputedTrait", 200, Create("computedTrait")),
    row(Del, "/spaces/{spaceId}/computed-traits/{id}", "removeComputedTraitFromSpace", 200, Delete),
    row(Get, "/spaces/{spaceId}/computed-traits/{id}", "getComputedTrait", 200, Read("computedTrait")),
    row(Patch, "/spaces/{spaceId}/computed-traits/{id}", "updateComputedTraitForSpace", 200, Update("computedTrait")),
    row(Get, "/spaces/{spaceId}/entities/{entitySlug}/properties", "listPropertiesFromEntity", 200, List("entityProperties")),
    row(Get, "/spaces/{spaceId}/entities/{entitySlug}/properties/{propertyName}/sample-values", "listSampleValuesFromEntityProperty", 200, Fixed),
    row(Get, "/spaces/{spaceId}/entity-paths", "listEntityPaths", 200, List("entityPaths")),
    row(Get, "/spaces/{spaceId}/events", "listEvents", 200, List("events")),
    row(Get, "/spaces/{spaceId}/events/{eventName}/properties", "listPropertiesFromEvent", 200, List("eventProperties")),
    row(Get, "/spaces/{spaceId}/events/{eventName}/properties/{propertyName}/sample-values", "listSampleValuesFromEventProperty", 200, Fixed),
    row(Put, "/spaces/{spaceId}/messaging-subscriptions", "replaceMessagingSubscriptionsInSpaces", 200, Fixed),
    row(Post, "/spaces/{spaceId}/messaging-subscriptions/batch", "batchQueryMessagingSubscriptionsForSpace", 200, Fixed),
    row(Get, "/spaces/{spaceId}/profiles-warehouses", "listProfilesWarehouseInSpace", 200, List("profilesWarehouses")),
    row(Post, "/spaces/{spaceId}/profiles-warehouses", "createProfilesWarehouse", 201, Create("profilesWarehouse")),
    row(Del, "/spaces/{spaceId}/profiles-warehouses/{warehouseId}", "removeProfilesWarehouseFromSpace", 200, Delete),
    row(Patch, "/spaces/{spaceId}/profiles-warehouses/{warehouseId}", "updateProfilesWarehouseForSpaceWarehouse", 200, Update("profilesWarehouse")),
    row(Get, "/spaces/{spaceId}/profiles-warehouses/{warehouseId}/selective-syncs", "listSelectiveSyncsFromWarehouseAndSpace", 200, Custom(reads::space_selective_syncs)),
    row(Patch, "/spaces/{spaceId}/profiles-warehouses/{warehouseId}/selective-syncs", "updateSelectiveSyncForWarehouseAndSpace", 200, Fixed),
    row(Get, "/spaces/{spaceId}/traits", "listTraits", 200, List("traits")),
    row(Get, "/spaces/{spaceId}/traits/{traitKey}/sample-values", "listSampleValuesFromTrait", 200, Fixed),
    row(Get, "/suppressions", "listSuppressions", 200, List("suppressed")),
    row(Get, "/tracking-plans", "listTrackingPlans", 200, List("trackingPlans")),
    row(Post, "/tracking-plans", "createTrackingPlan", 200, Create("trackingPlan")),
    row(Del, "/tracking-plans/{trackingPlanId}", "deleteTrackingPlan", 200, Delete),
    row(Get, "/tracking-plans/{trackingPlanId}", "getTrackingPlan", 200, Read("trackingPlan")),
    row(Patch, "/tracking-plans/{trackingPlanId}", "updateTrackingPlan", 200, UpdateQuietly),
    row(Del, "/tracking-plans/{trackingPlanId}/rules", "removeRulesFromTrackingPlan", 200, Custom(schema::remove_rules)),
    row(Get, "/tracking-plans/{trackingPlanId}/rules", "listRulesFromTrackingPlan", 200, List("rules")),
    row(Patch, "/tracking-plans/{trackingPlanId}/rules", "updateRulesInTrackingPlan", 200, Custom(schema::update_rules)),
    row(Put, "/tracking-plans/{trackingPlanId}/rules", "replaceRulesInTrackingPlan", 200, Custom(schema::replace_rules)),
    row(Del, "/tracking-plans/{trackingPlanId}/sources", "removeSourceFromTrackingPlan", 200, Custom(links::remove_source_from_plan)),
    row(Get, "/tracking-plans/{trackingPlanId}/sources", "listSourcesFromTrackingPlan", 200, Custom(links::sources_of_plan)),
    row(Post, "/tracking-plans/{trackingPlanId}/sources", "addSourceToTrackingPlan", 200, Custom(links::add_source_to_plan)),
    row(Get, "/transformations", "listTransformations", 200, List("transformations")),
    row(Post, "/transformations", "createTransformation", 200, Create("transformation")),
    row(Del, "/transformations/{transformationId}", "deleteTransformation", 200, Delete),
    row(Get, "/transformations/{transformationId}", "getTransformation", 200, Read("transformation")),
    row(Patch, "/transformations/{transformationId}", "updateTransformation", 200, Update("transformation")),
    row(Get, "/usage/api-calls/daily", "getDailyWorkspaceAPICallsUsage", 200, List("dailyWorkspaceAPICallsUsage")),
    row(Get, "/usage/api-calls/sources/daily", "getDailyPerSourceAPICallsUsage", 200, List("dailyPerSourceAPICallsUsage")),
    row(Get, "/usage/mtu/daily", "getDailyWorkspaceMTUUsage", 200, List("dailyWorkspaceMTUUsage")),
    row(Get, "/usage/mtu/sources/daily", "getDailyPerSourceMTUUsage", 200, List("dailyPerSourceMTUUsage")),
    row(Del, "/users", "deleteUsers", 200, Custom(people::delete_users)),
    row(Get, "/users", "listUsers", 200, List("users")),
    row(Get, "/users/{userId}", "getUser", 200, Read("user")),
    row(Get, "/users/{userId}/groups", "listUserGroupsFromUser", 200, Custom(people::groups_of_user)),
    row(Post, "/users/{userId}/permissions", "addPermissionsToUser", 200, Custom(people::add_permissions)),
    row(Put, "/users/{userId}/permissions", "replacePermissionsForUser", 200, Custom(people::replace_permissions)),
    row(Get, "/warehouses", "listWarehouses", 200, List("warehouses")),
    row(Post, "/warehouses", "createWarehouse", 201, Create("warehouse")),
    row(Post, "/warehouses/validation", "createValidationInWarehouse", 200, Fixed),
    row(Del, "/warehouses/{warehouseId}", "deleteWarehouse", 200, Delete),
    row(Get, "/warehouses/{warehouseId}", "getWarehouse", 200, Read("warehouse")),
    row(Patch, "/warehouses/{warehouseId}", "updateWarehouse", 200, Update("warehouse")),
    row(Get, "/warehouses/{warehouseId}/advanced-sync-schedule", "getAdvancedSyncScheduleFromWarehouse", 200, Custom(reads::sync_schedule)),
    row(Put, "/warehouses/{warehouseId}/advanced-sync-schedule", "replaceAdvancedSyncScheduleForWarehouse", 200, Custom(writes::replace_sync_schedule)),
    row(Get, "/warehouses/{warehouseId}/connected-sources", "listConnectedSourcesFromWarehouse", 200, Custom(links::sources_of_warehouse)),
    row(Del, "/warehouses/{warehouseId}/connected-sources/{sourceId}", "removeSourceConnectionFromWarehouse", 200, Custom(links::disconnect_source)),
    row(Post, "/warehouses/{warehouseId}/connected-sources/{sourceId}", "addConnectionFromSourceToWarehouse", 201, Custom(links::connect_source)),
    row(Get, "/warehouses/{warehouseId}/connected-sources/{sourceId}/selective-syncs", "listSelectiveSyncsFromWarehouseAndSource", 200, List("items")),
    row(Get, "/warehouses/{warehouseId}/connected-sources/{sourceId}/syncs", "listSyncsFromWarehouseAndSource", 200, List("reports")),
    row(Get, "/warehouses/{warehouseId}/connection-state", "getConnectionStateFromWarehouse", 200, Fixed),
    row(Patch, "/warehouses/{warehouseId}/selective-sync", "updateSelectiveSyncForWarehouse", 200, Fixed),
    row(Get, "/warehouses/{warehouseId}/syncs", "listSyncsFromWarehouse", 200, List("reports")),
];
