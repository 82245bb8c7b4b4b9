terraform {
  required_version = ">= 1.11.0, < 2.0.0" # 1.11 has write-only arguments, which keep the passwords out of the state

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "6.50.0"
    }
  }

  backend "gcs" {
    prefix = "pycalc"
  }
}

provider "google" {
  project               = var.project_id
  region                = var.region
  billing_project       = var.project_id
  user_project_override = true
  default_labels        = { service = var.name }
}
