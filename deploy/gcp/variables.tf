variable "project_id" {
  description = "Id of the Google Cloud project, which exists and has billing."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "billing_account" {
  description = "Billing account that the budget watches, such as 012345-6789AB-CDEF01."
  type        = string
  validation {
    condition     = can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "A billing account looks like 012345-6789AB-CDEF01."
  }
}

variable "budget" {
  description = "Expected cost of a month, in the billing account's currency; mails at 50, 90 and 100 % of it."
  type        = number
  default     = 300
  validation {
    condition     = var.budget >= 1 && floor(var.budget) == var.budget
    error_message = "The budget is a whole number of at least 1."
  }
}

variable "alert_email" {
  description = "Who is told when something is wrong."
  type        = string
  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "This is not an e-mail address."
  }
}

variable "region" {
  description = "Where everything runs."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "A region looks like europe-west1."
  }
}

variable "name" {
  description = "What every resource's name begins with."
  type        = string
  default     = "pycalc"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 16 lower-case letters, digits and hyphens."
  }
}

variable "image" {
  description = "The image of the first deployment, by digest or tag; later ones are Cloud Build's and not undone here."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9.-]+-docker\\.pkg\\.dev/[a-z0-9-]+/[a-z0-9-]+/[a-z0-9-]+(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "The image is in an Artifact Registry and has a tag or a digest: REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE:TAG."
  }
}

variable "min_instances" {
  description = "Instances that always run; at least one, because the relay publishes in the background."
  type        = number
  default     = 1
  validation {
    condition     = var.min_instances >= 1 && var.min_instances <= 10
    error_message = "Between 1 and 10 instances always run."
  }
}

variable "max_instances" {
  description = "Instances at most; each holds up to 13 connections to the database."
  type        = number
  default     = 8
  validation {
    condition     = var.max_instances >= var.min_instances && var.max_instances <= 13
    error_message = "Between min_instances and 13: the database takes 200 connections."
  }
}

variable "cpu" {
  description = "Processors of an instance; as many computations run at once."
  type        = number
  default     = 2
  validation {
    condition     = contains([1, 2, 4, 8], var.cpu)
    error_message = "Cloud Run has instances of 1, 2, 4 or 8 processors."
  }
}

variable "memory_gib" {
  description = "Memory of an instance in GiB; results of 25 million digits need 1 GiB for each computation."
  type        = number
  default     = 2
  validation {
    condition     = var.memory_gib >= var.cpu / 2 && var.memory_gib <= 32
    error_message = "Between half a GiB for each processor and 32 GiB."
  }
}

variable "concurrency" {
  description = "Requests that one instance takes at once before another one starts."
  type        = number
  default     = 250
  validation {
    condition     = var.concurrency >= 1 && var.concurrency <= 1000
    error_message = "Cloud Run allows 1 to 1000 requests at once."
  }
}

variable "consumers" {
  description = "Instances of the consumer, which keeps the usage totals."
  type        = number
  default     = 1
  validation {
    condition     = var.consumers >= 1 && var.consumers <= 10
    error_message = "Between 1 and 10 consumers."
  }
}

variable "public" {
  description = "Whether anybody may call the service (it has accounts of its own); false: only who has roles/run.invoker, which uptime check and smoke test then need too."
  type        = bool
  default     = true
}

variable "vpc_access" {
  description = "How instances reach the database and Redis: direct (no extra machines) or connector (Serverless VPC Access)."
  type        = string
  default     = "direct"
  validation {
    condition     = contains(["direct", "connector"], var.vpc_access)
    error_message = "Either direct or connector."
  }
}

variable "prometheus" {
  description = "Whether a sidecar sends the service's own metrics to Managed Service for Prometheus, and alerts watch them."
  type        = bool
  default     = true
}

variable "database_tier" {
  description = "Machine type of the database."
  type        = string
  default     = "db-custom-1-3840"
  validation {
    condition     = can(regex("^db-custom-[0-9]+-[0-9]+$", var.database_tier))
    error_message = "A tier looks like db-custom-1-3840: processors, MiB of memory."
  }
}

variable "database_disk_limit" {
  description = "Size in GB beyond which the database's disk does not grow; the alert database-disk comes before it is full."
  type        = number
  default     = 100
  validation {
    condition     = var.database_disk_limit >= 10 && floor(var.database_disk_limit) == var.database_disk_limit
    error_message = "The limit is a whole number of GB, of at least the first size, 10."
  }
}

variable "highly_available" {
  description = "Whether database and Redis have a standby in another zone, at twice their cost."
  type        = bool
  default     = false
}

variable "redis_gib" {
  description = "Memory of Redis in GiB."
  type        = number
  default     = 1
  validation {
    condition     = var.redis_gib >= 1 && var.redis_gib <= 300
    error_message = "Between 1 and 300 GiB."
  }
}

variable "deletion_protection" {
  description = "Whether the database and the Cloud Run resources refuse to be destroyed; false before a teardown."
  type        = bool
  default     = true
}

variable "database_password" {
  description = "Password of the migrations' role in the database: letters and digits. Needed whenever secrets_version rises."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.database_password == null || can(regex("^[A-Za-z0-9]{32,}$", var.database_password))
    error_message = "32 letters and digits or more: openssl rand -hex 32."
  }
}

variable "database_api_password" {
  description = "Password of the service's role in the database: letters and digits. Needed whenever secrets_version rises."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.database_api_password == null || can(regex("^[A-Za-z0-9]{32,}$", var.database_api_password))
    error_message = "32 letters and digits or more: openssl rand -hex 32."
  }
}

variable "database_consumer_password" {
  description = "Password of the consumer's role in the database: letters and digits. Needed whenever secrets_version rises."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.database_consumer_password == null || can(regex("^[A-Za-z0-9]{32,}$", var.database_consumer_password))
    error_message = "32 letters and digits or more: openssl rand -hex 32."
  }
}

variable "secret_keys" {
  description = "PYCALC_SECRET_KEYS: the signing keys, newest first. Needed whenever secrets_version rises."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.secret_keys == null || can(regex("^[^,]{32,}(,[^,]{32,})*$", var.secret_keys))
    error_message = "Keys of 32 characters or more each, separated by commas: openssl rand -hex 32."
  }
}

variable "password_keys" {
  description = "PYCALC_PASSWORD_KEYS: the keys of the password hashes, newest first. Needed whenever secrets_version rises."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = var.password_keys == null || can(regex("^[^,]{32,}(,[^,]{32,})*$", var.password_keys))
    error_message = "Keys of 32 characters or more each, separated by commas: openssl rand -hex 32."
  }
}

variable "secrets_version" {
  description = "Raise it to replace the five secrets by the values given in the same run."
  type        = number
  default     = 1
}
