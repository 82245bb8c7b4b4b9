output "url" {
  description = "Where the service is."
  value       = google_cloud_run_v2_service.api.uri
}

output "repository" {
  description = "Where the images are."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.name}"
}

output "source_bucket" {
  description = "Where `gcloud builds submit` puts the source."
  value       = "gs://${google_storage_bucket.source.name}/source"
}

output "database" {
  description = "Connection name of the database, for gcloud and the Cloud SQL proxy."
  value       = google_sql_database_instance.this.connection_name
}
