-- What the collectors of all nodes have to publish to their limit tables.

-- For the collectors: what to publish. The collector's own updates of current_usage do not fire these. What fails is let through in
-- the host's tables alone: a key that is revoked, and the gates not told, would go on opening the door.
CREATE OR REPLACE FUNCTION tollgate.config_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  subject text;
BEGIN
  IF TG_ARGV[0] = 'catalogue' THEN
    INSERT INTO tollgate.config_changes (kind) VALUES ('catalogue');
  ELSIF TG_ARGV[0] = 'key' THEN
    IF TG_OP = 'DELETE' THEN
      INSERT INTO tollgate.config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
    ELSE
      INSERT INTO tollgate.config_changes (kind, subject, hash) VALUES ('key', NEW.id, NEW.hash);
      IF TG_OP = 'UPDATE' AND OLD.hash <> NEW.hash THEN
        INSERT INTO tollgate.config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
      END IF;
    END IF;
  ELSE
    IF TG_ARGV[1] = 'id' THEN
      subject := CASE WHEN TG_OP = 'DELETE' THEN concat(OLD.id) ELSE concat(NEW.id) END;
    ELSE
      subject := CASE WHEN TG_OP = 'DELETE' THEN concat(OLD.tenant_id) ELSE concat(NEW.tenant_id) END;
    END IF;
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', subject);
  END IF;
  RETURN NULL;
EXCEPTION
  WHEN transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    IF TG_TABLE_NAME NOT IN ('tenants', 'tenant_subscriptions') THEN
      RAISE;
    END IF;
    PERFORM tollgate.let_through(subject, TG_RELID, sqlerrm);
    RETURN NULL;
END $$;
