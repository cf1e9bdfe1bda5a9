from gateway.audit.log import SqliteAuditLog

__all__ = ["SqliteAuditLog"]
