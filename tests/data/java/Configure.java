import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/** Sets a config of some topics: key, value, topics. */
public class Configure {
    public static void main(String[] args) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", args[0]);
        ConfigEntry entry = new ConfigEntry(args[1], args[2]);
        Collection<AlterConfigOp> set =
            Collections.singletonList(new AlterConfigOp(entry, AlterConfigOp.OpType.SET));
        List<String> topics = Arrays.asList(args).subList(3, args.length);
        try (Admin admin = Admin.create(config)) {
            admin.incrementalAlterConfigs(topics.stream().collect(Collectors.toMap(
                topic -> new ConfigResource(ConfigResource.Type.TOPIC, topic), topic -> set)))
                .all().get();
        }
    }
}
