-- What the collectors of all nodes have to publish to their limit tables.

-- For the collectors: what to publish. The collector's own updates of current_usage do not fire these.
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
      subject := CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END;
    ELSE
      subject := CASE WHEN TG_OP = 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
    END IF;
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', subject);
  END IF;
  RETURN NULL;
END $$;
